//! Where everything stands, as a pure function of the size and the focus.
//!
//! `update` (scrolling, clicks) and `view` (drawing) both call [`split`], so they cannot disagree.
//!
//! ```text
//! >= 140 columns   services │ logs    │ runbook      100-139   services │ logs         60-99  services
//!                  signals  │ compare │ timeline               signals  │ compare             the focused pane
//!                                                              runbook  │ timeline
//! ```
//! Below 60x15 there is no room for panes: the wall view says the most important things in a few lines.

use ratatui::layout::{Constraint, Layout, Rect, Size};

/// A pane, in the order of its number key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pane {
    /// What runs.
    Services,
    /// The log of the selected service.
    Logs,
    /// What the deploy changed.
    Compare,
    /// The golden signals of the selected service.
    Signals,
    /// The runbook that is being worked through.
    Runbook,
    /// What happened.
    Timeline,
}

impl Pane {
    /// Every pane, in the order of its number key.
    pub const ALL: [Self; 6] = [
        Self::Services,
        Self::Logs,
        Self::Compare,
        Self::Signals,
        Self::Runbook,
        Self::Timeline,
    ];

    /// The word in titles, keymaps and `--only`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::Logs => "logs",
            Self::Compare => "compare",
            Self::Signals => "signals",
            Self::Runbook => "runbook",
            Self::Timeline => "timeline",
        }
    }

    /// The pane of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.name() == name)
    }

    /// Its number key, from 1.
    pub fn number(self) -> usize {
        self.index() + 1
    }

    /// Its place in [`Pane::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}

/// What decides the layout besides the size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Focus {
    /// The pane that gets the keys.
    pub pane: Pane,
    /// The pane that is shown where there is room for one besides the services.
    pub main: Pane,
    /// Whether the focused pane has the whole screen.
    pub is_zoomed: bool,
    /// The panes there are.
    pub panes: Vec<Pane>,
    /// Whether the wall view was asked for.
    pub is_wall: bool,
}

impl Default for Focus {
    fn default() -> Self {
        Self {
            pane: Pane::Services,
            main: Pane::Logs,
            is_zoomed: false,
            panes: Pane::ALL.to_vec(),
            is_wall: false,
        }
    }
}

impl Focus {
    /// Gives a pane the keys, if it is one of those there are.
    pub fn set(&mut self, pane: Pane) {
        if self.panes.contains(&pane) {
            self.pane = pane;
            if pane != Pane::Services {
                self.main = pane;
            }
        }
    }

    /// The next pane, or the one before, in a circle.
    pub fn step(&mut self, forward: bool) {
        let n = self.panes.len();
        let at = self.panes.iter().position(|p| *p == self.pane).unwrap_or(0);
        let next = if forward { at + 1 } else { at + n - 1 } % n.max(1);
        if let Some(pane) = self.panes.get(next) {
            self.set(*pane);
        }
    }
}

/// The places of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Places {
    /// The line with project, checkpoint, verdict, lock and clock.
    pub header: Rect,
    /// The line with the keys that are possible now.
    pub footer: Rect,
    /// Where each pane stands, in the order of [`Pane::ALL`]; `None` where it is not shown.
    pub panes: [Option<Rect>; 6],
    /// Where the wall view stands instead of everything else.
    pub wall: Option<Rect>,
}

impl Places {
    /// Where a pane stands, its border included.
    pub fn pane(&self, pane: Pane) -> Option<Rect> {
        self.panes[pane.index()]
    }

    /// Rows and columns of a pane inside its border; zero where it is not shown.
    pub fn inner(&self, pane: Pane) -> Size {
        self.pane(pane).map_or(Size::new(0, 0), |r| {
            Size::new(r.width.saturating_sub(2), r.height.saturating_sub(2))
        })
    }
}

/// Divides the screen.
pub fn split(size: Size, focus: &Focus) -> Places {
    let screen = Rect::new(0, 0, size.width, size.height);
    let mut places = Places::default();
    if focus.is_wall || size.width < 60 || size.height < 15 {
        places.wall = Some(screen);
        return places;
    }
    let [header, body, footer] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(screen);
    places.header = header;
    places.footer = footer;
    if focus.is_zoomed || focus.panes.len() == 1 {
        places.panes[focus.pane.index()] = Some(body);
        return places;
    }
    use Pane::{Compare, Logs, Runbook, Services, Signals, Timeline};
    match size.width {
        0..100 => narrow(body, focus, &mut places),
        100..140 => arrange(
            body,
            &[
                (30, &[(Services, 40), (Signals, 30), (Runbook, 30)]),
                (0, &[(Logs, 46), (Compare, 40), (Timeline, 14)]),
            ],
            focus,
            &mut places,
        ),
        width => {
            let side = if width >= 180 { 40 } else { 34 };
            arrange(
                body,
                &[
                    (side, &[(Services, 55), (Signals, 45)]),
                    (0, &[(Logs, 55), (Compare, 45)]),
                    (side, &[(Runbook, 55), (Timeline, 45)]),
                ],
                focus,
                &mut places,
            );
        }
    }
    places
}

/// A column: its width (0: whatever is left) and its panes with their shares of the height.
type Column = (u16, &'static [(Pane, u16)]);

/// Lays out the columns that have a pane to show; with `--only` a whole column can be without.
fn arrange(body: Rect, wanted: &[Column], focus: &Focus, places: &mut Places) {
    let columns: Vec<(u16, Vec<(Pane, u16)>)> = wanted
        .iter()
        .map(|(width, panes)| {
            let shown = panes
                .iter()
                .copied()
                .filter(|(p, _)| focus.panes.contains(p));
            (*width, shown.collect::<Vec<_>>())
        })
        .filter(|(_, panes)| !panes.is_empty())
        .collect();
    let has_filler = columns.iter().any(|(width, _)| *width == 0);
    let widths = columns.iter().enumerate().map(|(i, (width, _))| {
        if *width == 0 || (!has_filler && i + 1 == columns.len()) {
            Constraint::Fill(1)
        } else {
            Constraint::Length(*width)
        }
    });
    for ((_, panes), column) in columns
        .iter()
        .zip(Layout::horizontal(widths).split(body).iter())
    {
        let heights = panes.iter().map(|(_, share)| Constraint::Fill(*share));
        for ((pane, _), area) in panes
            .iter()
            .zip(Layout::vertical(heights).split(*column).iter())
        {
            places.panes[pane.index()] = Some(*area);
        }
    }
}

/// Services as a strip, and below it the pane that was last looked at.
fn narrow(body: Rect, focus: &Focus, places: &mut Places) {
    let main = if focus.panes.contains(&focus.main) {
        Some(focus.main)
    } else {
        focus.panes.iter().copied().find(|p| *p != Pane::Services)
    };
    let strip = if focus.panes.contains(&Pane::Services) {
        (body.height / 3).clamp(5, 10)
    } else {
        0
    };
    if main.is_none() {
        places.panes[Pane::Services.index()] = Some(body);
        return;
    }
    let [top, rest] =
        Layout::vertical([Constraint::Length(strip), Constraint::Fill(1)]).areas(body);
    if strip > 0 {
        places.panes[Pane::Services.index()] = Some(top);
    }
    if let Some(main) = main {
        places.panes[main.index()] = Some(rest);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(width: u16, height: u16) -> Places {
        split(Size::new(width, height), &Focus::default())
    }

    #[test]
    fn every_pane_shows_from_100_columns_on() {
        for (w, h) in [(100, 30), (120, 40), (139, 40), (140, 40), (200, 60)] {
            assert!(at(w, h).panes.iter().all(Option::is_some), "{w}x{h}");
        }
    }

    #[test]
    fn a_narrow_screen_shows_the_services_and_one_pane() {
        let places = at(80, 24);
        let shown: Vec<Pane> = Pane::ALL
            .into_iter()
            .filter(|p| places.pane(*p).is_some())
            .collect();
        assert_eq!(shown, [Pane::Services, Pane::Logs]);
    }

    #[test]
    fn a_tiny_screen_shows_the_wall() {
        for (w, h) in [(40, 10), (59, 40), (120, 14), (1, 1)] {
            assert!(at(w, h).wall.is_some(), "{w}x{h}");
        }
    }

    #[test]
    fn a_zoomed_pane_has_the_whole_body() {
        let focus = Focus {
            pane: Pane::Compare,
            is_zoomed: true,
            ..Focus::default()
        };
        let places = split(Size::new(120, 40), &focus);
        assert_eq!(places.pane(Pane::Compare), Some(Rect::new(0, 1, 120, 38)));
        assert_eq!(places.panes.iter().flatten().count(), 1);
    }

    #[test]
    fn tab_goes_round() {
        let mut focus = Focus::default();
        for _ in 0..6 {
            focus.step(true);
        }
        assert_eq!(focus.pane, Pane::Services);
        focus.step(false);
        assert_eq!(focus.pane, Pane::Timeline);
        assert_eq!(focus.main, Pane::Timeline);
    }

    proptest! {
        #[test]
        fn panes_fill_the_body_and_never_overlap(
            width in 60u16..260, height in 15u16..90, mask in 1u8..64, zoom: bool, focused in 0usize..6,
        ) {
            let panes: Vec<Pane> = Pane::ALL.into_iter().filter(|p| mask & (1 << p.index()) != 0).collect();
            let pane = panes[focused % panes.len()];
            let mut focus = Focus { panes, is_zoomed: zoom, ..Focus::default() };
            focus.set(pane);
            let places = split(Size::new(width, height), &focus);
            let areas: Vec<Rect> = places.panes.iter().flatten().copied().collect();
            for (i, a) in areas.iter().enumerate() {
                prop_assert!(a.right() <= width && a.bottom() < height && a.y >= 1);
                for b in &areas[i + 1..] {
                    prop_assert!(a.intersection(*b).is_empty(), "{a:?} {b:?}");
                }
            }
            let covered: u32 = areas.iter().map(|a| a.area()).sum();
            prop_assert_eq!(covered, u32::from(width) * u32::from(height - 2));
            prop_assert!(places.pane(focus.pane).is_some());
        }
    }
}
