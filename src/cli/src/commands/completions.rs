//! `pilothouse completions`: a script for the shell. It holds nothing of the command line; it asks the program itself at every
//! completion, see [`crate::complete`].

use crate::complete::write_script;
use crate::console::Console;
use crate::error::CliError;
use crate::exit::Exit;

pub(crate) const EXAMPLE: &str = "\
Example:
  pilothouse completions bash
  pilothouse completions zsh
  pilothouse completions fish

Put into ~/.bashrc, ~/.zshrc or ~/.config/fish/config.fish:
    source <(pilothouse completions bash)
    source <(pilothouse completions zsh)
    pilothouse completions fish | source";

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Clone, Debug, clap::Args)]
pub struct Completions {
    /// The shell that the script is for
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(completions: &Completions, console: &mut Console) -> Result<Exit, CliError> {
    let shell = match completions.shell {
        Shell::Bash => "bash",
        Shell::Zsh => "zsh",
        Shell::Fish => "fish",
    };
    let script = write_script(shell).map_err(|source| CliError::System { action: "write the script", source })?;
    console.print_raw(&script)?;
    Ok(Exit::Ok)
}
