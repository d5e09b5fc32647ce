//! PM2.
mod amp;
