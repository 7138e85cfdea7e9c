//! The terminal, taken over for a view and given back whatever happens.

use std::io;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::{DefaultTerminal, Frame};

/// Keys taken at one look: a paste must not keep the view from being drawn.
const KEYS: usize = 256;

pub(crate) struct Screen(DefaultTerminal);

impl Screen {
    /// Takes the terminal over. A panic gives it back before it prints.
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self(ratatui::try_init()?))
    }

    pub(crate) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.0.draw(draw).map(|_| ())
    }

    /// The keys pressed since the last look. Never waits.
    pub(crate) fn keys(&mut self) -> io::Result<Vec<KeyEvent>> {
        let mut keys = Vec::new();
        while keys.len() < KEYS && event::poll(Duration::ZERO)? {
            if let Event::Key(key) = event::read()?
                && key.kind == KeyEventKind::Press
            {
                keys.push(key);
            }
        }
        Ok(keys)
    }
}

/// Ctrl-c, which the terminal no longer makes a signal of.
pub(crate) fn interrupts(key: KeyEvent) -> bool {
    key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL)
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}
