//! What can be typed while the cluster runs.

/// All of it, in a line.
pub(super) const HELP: &str = "kill|stop|resume|restart|leave NODE, say TEXT, quit; NODE: s1, p3, an address";

/// What was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Kill(String),
    Stop(String),
    Resume(String),
    Restart(String),
    Leave(String),
    Say(String),
    Help,
    Quit,
    Nothing,
    Wrong(String),
}

/// What a line means. The first letter of a word is enough, except where two begin with the same one.
pub(super) fn parse(line: &str) -> Action {
    let line = line.trim();
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let rest = rest.trim().to_owned();
    let wants_node = |action: fn(String) -> Action| match rest.is_empty() {
        true => Action::Wrong(format!("{word} whom? {HELP}")),
        false => action(rest.clone()),
    };
    match word {
        "" => Action::Nothing,
        "kill" | "k" => wants_node(Action::Kill),
        "stop" | "s" => wants_node(Action::Stop),
        "resume" | "c" => wants_node(Action::Resume),
        "restart" | "r" => wants_node(Action::Restart),
        "leave" | "l" => wants_node(Action::Leave),
        "say" if rest.is_empty() => Action::Wrong("say what?".to_owned()),
        "say" => Action::Say(rest),
        "help" | "?" | "h" => Action::Help,
        "quit" | "q" | "exit" => Action::Quit,
        other => Action::Wrong(format!("{other:?} is no command: {HELP}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_and_nonsense_is_named() {
        assert_eq!(parse("kill p3"), Action::Kill("p3".to_owned()));
        assert_eq!(parse(" say  hello there "), Action::Say("hello there".to_owned()));
        assert_eq!(parse(""), Action::Nothing);
        assert!(matches!(parse("kill"), Action::Wrong(text) if text.starts_with("kill whom?")));
        assert!(matches!(parse("dance"), Action::Wrong(text) if text.starts_with("\"dance\" is no command")));
    }
}
