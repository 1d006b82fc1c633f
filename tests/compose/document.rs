//! The shell commands of a Markdown document, in its order and as they are written.

use std::process::{Command, Stdio};

/// A fenced block of shell commands.
#[derive(Debug)]
pub(crate) struct Block {
    /// The heading that it stands under.
    pub(crate) heading: String,
    pub(crate) commands: Vec<String>,
}

/// All blocks of a document that are marked as bash.
pub(crate) fn blocks(markdown: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let (mut heading, mut fence) = (String::new(), None::<(bool, String)>);
    for line in markdown.lines() {
        match (&mut fence, line.strip_prefix("```")) {
            (None, Some(language)) => fence = Some((language == "bash", String::new())),
            (Some((is_bash, text)), Some(_)) => {
                if *is_bash {
                    blocks.push(Block { heading: heading.clone(), commands: commands(text) });
                }
                fence = None;
            }
            (Some((_, text)), None) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) if line.starts_with('#') => heading = line.trim_start_matches('#').trim().to_owned(),
            (None, None) => {}
        }
    }
    assert!(fence.is_none(), "a block is not closed");
    blocks
}

/// The commands of a text, each with all its lines: where one ends, bash says.
fn commands(text: &str) -> Vec<String> {
    let (mut commands, mut command) = (Vec::new(), String::new());
    for line in text.lines() {
        if command.is_empty() && (line.trim().is_empty() || line.starts_with('#')) {
            continue;
        }
        command.push_str(line);
        if !line.ends_with('\\') && is_complete(&command) {
            commands.push(std::mem::take(&mut command));
        } else {
            command.push('\n');
        }
    }
    assert!(command.is_empty(), "bash does not understand: {command}");
    commands
}

fn is_complete(command: &str) -> bool {
    let check = Command::new("bash").args(["-n", "-c", command]).stderr(Stdio::null()).status();
    check.unwrap().success()
}

#[test]
fn commands_keep_all_their_lines_and_comments_are_none() {
    let text = "# One.\ncurl a \\\n  -d '{\n  \"x\": 1\n}'\n\nfor i in 1 2; do\n  echo $i &\ndone\nwait\n";
    let expected = ["curl a \\\n  -d '{\n  \"x\": 1\n}'", "for i in 1 2; do\n  echo $i &\ndone", "wait"];
    assert_eq!(commands(text), expected);
}

#[test]
fn blocks_stand_under_their_headings_and_other_languages_are_left_out() {
    let text =
        "## One\n```bash\n# a comment, no heading\nls\n```\n```go\nx\n```\n## Two\n```bash\npwd\n```\n";
    let found: Vec<_> =
        blocks(text).into_iter().map(|block| (block.heading, block.commands.concat())).collect();
    assert_eq!(found, [("One".to_owned(), "ls".to_owned()), ("Two".to_owned(), "pwd".to_owned())]);
}
