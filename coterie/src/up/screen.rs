//! The live table: nodes above, the last events beneath, a line to type on at the bottom.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::Duration;

use crossterm::event::{Event, KeyCode, KeyModifiers, poll, read};
use crossterm::{cursor, execute, queue, style, terminal};

use super::command::{self, Action};
use super::is_watched;
use super::status::Board;
use crate::cluster::Cluster;

/// Events that are kept, for a tall screen.
const NOTES_MAX: usize = 200;

/// Draws on a terminal, where there is one.
#[derive(Debug)]
pub(super) struct Screen {
    is_terminal: bool,
    notes: VecDeque<String>,
    typed: String,
    drawn: Vec<String>,
}

impl Screen {
    pub(super) fn open() -> io::Result<Self> {
        let is_terminal = is_watched();
        if is_terminal {
            terminal::enable_raw_mode()?;
            execute!(io::stdout(), terminal::EnterAlternateScreen)?;
        }
        Ok(Screen { is_terminal, notes: VecDeque::new(), typed: String::new(), drawn: Vec::new() })
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Gives the terminal back, and leaves the last events on it.
    pub(super) fn close(&mut self) {
        if !std::mem::take(&mut self.is_terminal) {
            return;
        }
        // A terminal that is gone needs nothing given back.
        let _ = execute!(io::stdout(), terminal::LeaveAlternateScreen, cursor::Show);
        let _ = terminal::disable_raw_mode();
        for note in self.notes.iter().rev().take(40).rev() {
            let _ = writeln!(io::stdout(), "{note}");
        }
    }

    /// One more event.
    pub(super) fn note(&mut self, line: String) {
        self.notes.push_back(line);
        if self.notes.len() > NOTES_MAX {
            self.notes.pop_front();
        }
    }

    /// What was typed since the last time.
    pub(super) fn actions(&mut self) -> io::Result<Vec<Action>> {
        let mut actions = Vec::new();
        while poll(Duration::ZERO)? {
            match read()? {
                Event::Key(key) => actions.extend(self.key(key.code, key.modifiers)),
                Event::Resize(..) => self.drawn.clear(),
                Event::FocusGained | Event::FocusLost | Event::Mouse(_) => {}
            }
        }
        Ok(actions)
    }

    fn key(&mut self, code: KeyCode, modifiers: KeyModifiers) -> Option<Action> {
        match code {
            KeyCode::Char('c' | 'd') if modifiers.contains(KeyModifiers::CONTROL) => {
                return Some(Action::Quit);
            }
            KeyCode::Char('u') if modifiers.contains(KeyModifiers::CONTROL) => self.typed.clear(),
            // A line feed, as programs that type send it.
            KeyCode::Char('j') if modifiers.contains(KeyModifiers::CONTROL) => return self.entered(),
            KeyCode::Char(_) if modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) => {}
            KeyCode::Char(character) => self.typed.push(character),
            KeyCode::Backspace => {
                self.typed.pop();
            }
            KeyCode::Enter => return self.entered(),
            _ => {}
        }
        None
    }

    fn entered(&mut self) -> Option<Action> {
        Some(command::parse(&std::mem::take(&mut self.typed)))
    }

    /// Draws what has changed since the last time.
    pub(super) fn draw(&mut self, cluster: &mut Cluster, board: &Board) -> io::Result<()> {
        let (width, height) = terminal::size()?;
        let (width, height) = (usize::from(width), usize::from(height));
        let mut lines = table(cluster, board);
        lines.push(String::new());
        let room = height.saturating_sub(lines.len() + 2);
        lines.extend(self.notes.iter().skip(self.notes.len().saturating_sub(room)).cloned());
        lines.resize(height.saturating_sub(2), String::new());
        lines.push(command::HELP.to_owned());
        lines.push(format!("> {}", self.typed));
        lines.iter_mut().for_each(|line| *line = line.chars().take(width).collect());
        let mut out = io::stdout().lock();
        queue!(out, cursor::Hide)?;
        for (row, line) in lines.iter().enumerate() {
            if self.drawn.get(row) != Some(line) {
                let row = row as u16;
                queue!(
                    out,
                    cursor::MoveTo(0, row),
                    style::Print(line),
                    terminal::Clear(terminal::ClearType::UntilNewLine)
                )?;
            }
        }
        let column = self.typed.chars().count().min(width.saturating_sub(3)) as u16 + 2;
        queue!(out, cursor::MoveTo(column, height.saturating_sub(1) as u16), cursor::Show)?;
        out.flush()?;
        self.drawn = lines;
        Ok(())
    }
}

/// Narrow enough for a terminal of 80 columns, as long as addresses are those of IPv4.
fn table(cluster: &mut Cluster, board: &Board) -> Vec<String> {
    let mut lines = vec![format!(
        "{:<4} {:<4} {:<21} {:>7} {:<8} {:>6} {:<6} {:>6} {:>8}",
        "node", "role", "address", "pid", "state", "epoch", "leader", "degree", "messages"
    )];
    for index in 0..cluster.nodes.len() {
        let alive = cluster.is_alive(index);
        let (node, status) = (&cluster.nodes[index], board.get(index));
        let pid = node.record.pid.filter(|_| alive).map_or("-".to_owned(), |pid| pid.to_string());
        let leader = cluster.find(&status.leader).map_or("-", |leader| &cluster.nodes[leader].name);
        let (leader, degree, messages) = match node.record.role.as_str() {
            "seed" => (leader, "-".to_owned(), "-".to_owned()),
            _ => ("-", status.degree.to_string(), status.messages.to_string()),
        };
        let state = if alive { status.state.word() } else { ended(status.state) };
        lines.push(format!(
            "{:<4} {:<4} {:<21} {pid:>7} {state:<8} {:>6} {leader:<6} {degree:>6} {messages:>8}",
            node.name,
            node.record.role,
            node.record.address.to_string(),
            status.epoch
        ));
    }
    lines
}

fn ended(state: super::status::NodeState) -> &'static str {
    match state {
        super::status::NodeState::Killed => "killed",
        _ => "ended",
    }
}
