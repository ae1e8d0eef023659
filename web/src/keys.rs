//! What each key of the keyboard means, and where. Pure; arrow keys on the ring are the ring's own.

use crate::tools::Tool;

/// Where the keyboard is when a key is pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Focus {
    /// In a field for text or a choice: letters belong to it.
    Field,
    /// On a button: Space and Enter belong to it.
    Button,
    /// Anywhere else.
    Page,
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortcut {
    /// Let time pass, or stop it.
    PlayOrPause,
    /// One thing that leaves a trace.
    Step,
    /// The next slower speed.
    Slower,
    /// The next faster speed.
    Faster,
    /// A tool on the marked nodes.
    Tool(Tool),
    /// Mend every link.
    Heal,
    /// Go to the command line.
    Console,
    /// Go to the ring.
    Ring,
    /// Ask for a new run.
    NewRun,
    /// Light or dark.
    Theme,
    /// Show the keys.
    Help,
    /// Let go of what is selected and marked.
    Escape,
}

/// Keys as people read them, and what they do.
pub const HELP: [(&str, &str); 16] = [
    ("Space  .", "play or pause"),
    ("→", "step to the next event"),
    ("[  ]", "slower, faster"),
    ("g", "go to the ring; arrow keys walk round it"),
    ("Enter", "on a node: look at it"),
    ("Space", "on a node: mark it for the next fault"),
    ("c", "crash the marked nodes"),
    ("r", "restart them"),
    ("s", "stop them tidily"),
    ("x", "cut the link between two of them"),
    ("p", "cut them off from all others"),
    ("h", "heal every link"),
    ("a", "add a node"),
    ("k  /", "command line"),
    ("n  t", "new run; light or dark"),
    ("Esc", "let go of what is selected"),
];

/// What a key asks for, if anything. `combined` says that Ctrl, Alt or Meta is held: those belong to the browser.
#[must_use]
pub fn shortcut(key: &str, combined: bool, focus: Focus) -> Option<Shortcut> {
    if combined || focus == Focus::Field {
        return (key == "Escape").then_some(Shortcut::Escape);
    }
    Some(match key {
        " " if focus == Focus::Button => return None,
        " " | "." => Shortcut::PlayOrPause,
        "ArrowRight" => Shortcut::Step,
        "[" => Shortcut::Slower,
        "]" => Shortcut::Faster,
        "c" => Shortcut::Tool(Tool::Crash),
        "r" => Shortcut::Tool(Tool::Restart),
        "s" => Shortcut::Tool(Tool::Stop),
        "x" => Shortcut::Tool(Tool::Cut),
        "p" => Shortcut::Tool(Tool::Split),
        "a" => Shortcut::Tool(Tool::Add),
        "h" => Shortcut::Heal,
        "k" | "/" => Shortcut::Console,
        "g" => Shortcut::Ring,
        "n" => Shortcut::NewRun,
        "t" => Shortcut::Theme,
        "?" => Shortcut::Help,
        "Escape" => Shortcut::Escape,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_belong_to_a_field_and_space_to_a_button() {
        for (key, combined, focus, meant) in [
            (" ", false, Focus::Page, Some(Shortcut::PlayOrPause)),
            (" ", false, Focus::Button, None),
            (".", false, Focus::Button, Some(Shortcut::PlayOrPause)),
            ("c", false, Focus::Page, Some(Shortcut::Tool(Tool::Crash))),
            ("c", false, Focus::Button, Some(Shortcut::Tool(Tool::Crash))),
            ("c", false, Focus::Field, None),
            ("c", true, Focus::Page, None),
            ("Escape", false, Focus::Field, Some(Shortcut::Escape)),
            ("é", false, Focus::Page, None),
        ] {
            assert_eq!(shortcut(key, combined, focus), meant, "{key} {focus:?}");
        }
    }

    #[test]
    fn every_key_of_the_help_does_something() {
        for (keys, _) in HELP {
            for key in keys.split("  ") {
                let key = match key {
                    "Space" => " ",
                    "→" => "ArrowRight",
                    "Esc" => "Escape",
                    // Belongs to the node that has the focus.
                    "Enter" => continue,
                    other => other,
                };
                assert!(shortcut(key, false, Focus::Page).is_some(), "{key}");
            }
        }
    }
}
