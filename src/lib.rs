//! `lastgood` remembers how production looked before a deploy, shows what the deploy changed,
//! and takes you back.
pub mod domain;
