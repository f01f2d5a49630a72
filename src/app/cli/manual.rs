//! `tilld man` and `tilld completions`: the manual page, and the completions for a shell. Both are made from the definition of
//! the commands; neither may hold a word of its own about a command. Called by the command line.

use clap_mangen::Man;

use crate::app::cli::CommandError;

/// For which shell.
#[derive(Debug, clap::Args)]
pub(crate) struct Shell {
    /// The shell
    shell: clap_complete::Shell,
}

/// The completions, as the shell reads them.
#[must_use]
pub(crate) fn completions(shell: &Shell, mut definition: clap::Command) -> Vec<u8> {
    let mut text = Vec::new();
    clap_complete::generate(shell.shell, &mut definition, "tilld", &mut text);
    text
}

/// The manual page: one for the program, with the help of every command in it.
///
/// # Errors
/// When it cannot be rendered.
pub(crate) fn page(mut definition: clap::Command) -> Result<Vec<u8>, CommandError> {
    definition.build();
    let man = Man::new(definition.clone());
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    page.extend_from_slice(b".SH COMMANDS\n");
    add_commands(&mut definition, &mut page);
    man.render_extra_section(&mut page)?;
    man.render_version_section(&mut page)?;
    Ok(page)
}

fn add_commands(parent: &mut clap::Command, page: &mut Vec<u8>) {
    for command in parent.get_subcommands_mut().filter(|command| command.get_name() != "help") {
        if command.has_subcommands() {
            add_commands(command, page);
            continue;
        }
        let name = command.get_bin_name().unwrap_or_default().to_owned();
        let help = literal(&command.render_long_help().to_string());
        page.extend_from_slice(format!(".SS \"{}\"\n.nf\n{help}.fi\n", name.replace('-', "\\-")).as_bytes());
    }
}

/// Text that roff prints as it is (groff_man(7): a leading dot or quote is a request, a backslash an escape).
fn literal(text: &str) -> String {
    let line = |line: &str| {
        let escaped = line.replace('\\', "\\e").replace('-', "\\-");
        let guard = if escaped.starts_with(['.', '\'']) { "\\&" } else { "" };
        format!("{guard}{escaped}\n")
    };
    text.lines().map(line).collect()
}
