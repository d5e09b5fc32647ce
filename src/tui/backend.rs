//! The way to the terminal, which writes nothing where a frame changes nothing.
//!
//! Ratatui's own takes back colours and hides the cursor with every frame. A console that draws an age once a second, or looks
//! at what has not changed, would keep an ssh link, a tmux and a monitor busy with nothing.

use ratatui::backend::{Backend, ClearType, WindowSize};
use ratatui::buffer::Cell;
use ratatui::layout::{Position, Size};

/// Passes on what changes something.
#[derive(Debug)]
pub struct Sparing<B> {
    inner: B,
    /// Whether the cursor is known to be hidden. Whoever had the terminal meanwhile may have shown it; what is on the screen
    /// is then cleared first.
    is_hidden: bool,
}

impl<B> Sparing<B> {
    /// Passes on to `inner`.
    pub fn new(inner: B) -> Self {
        let is_hidden = false;
        Self { inner, is_hidden }
    }
}

impl<B: Backend> Backend for Sparing<B> {
    type Error = B::Error;

    fn draw<'a, I>(&mut self, content: I) -> Result<(), B::Error>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let mut content = content.peekable();
        match content.peek() {
            Some(_) => self.inner.draw(content),
            None => Ok(()),
        }
    }

    fn hide_cursor(&mut self) -> Result<(), B::Error> {
        if !self.is_hidden {
            self.inner.hide_cursor()?;
            self.is_hidden = true;
        }
        Ok(())
    }

    fn show_cursor(&mut self) -> Result<(), B::Error> {
        self.is_hidden = false;
        self.inner.show_cursor()
    }

    fn get_cursor_position(&mut self) -> Result<Position, B::Error> {
        self.inner.get_cursor_position()
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> Result<(), B::Error> {
        self.inner.set_cursor_position(position)
    }

    fn clear(&mut self) -> Result<(), B::Error> {
        self.is_hidden = false;
        self.inner.clear()
    }

    fn clear_region(&mut self, region: ClearType) -> Result<(), B::Error> {
        self.is_hidden = false;
        self.inner.clear_region(region)
    }

    fn size(&self) -> Result<Size, B::Error> {
        self.inner.size()
    }

    fn window_size(&mut self) -> Result<WindowSize, B::Error> {
        self.inner.window_size()
    }

    fn flush(&mut self) -> Result<(), B::Error> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use ratatui::backend::CrosstermBackend;
    use ratatui::layout::Rect;
    use ratatui::{Terminal, TerminalOptions, Viewport};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn draw(screen: &mut Terminal<impl Backend>, written: &Written, text: &str) -> String {
        written.0.lock().unwrap().clear();
        let drawn = screen.draw(|frame| frame.render_widget(text, frame.area()));
        assert!(drawn.is_ok());
        String::from_utf8(written.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_frame_like_the_one_before_is_not_written() {
        let written = Written::default();
        let backend = Sparing::new(CrosstermBackend::new(written.clone()));
        let options = TerminalOptions {
            viewport: Viewport::Fixed(Rect::new(0, 0, 10, 2)),
        };
        let mut screen = Terminal::with_options(backend, options).unwrap();
        let first = draw(&mut screen, &written, "12s");
        assert!(first.contains("12s") && first.contains("\x1b[?25l"));
        assert_eq!(draw(&mut screen, &written, "12s"), "");
        let next = draw(&mut screen, &written, "13s");
        assert!(
            next.contains('3') && !next.contains("s") && !next.contains("25l"),
            "{next:?}"
        );
        screen.backend_mut().clear().unwrap();
        screen.swap_buffers();
        let anew = draw(&mut screen, &written, "13s");
        assert!(
            anew.contains("13s") && anew.contains("\x1b[?25l"),
            "{anew:?}"
        );
    }
}
