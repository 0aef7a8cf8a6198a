//! What is made from the definition of the command line: completions and manual pages.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::args::{self, Cli};
use crate::complain;
use crate::report::FAILED;

/// Prints the completions of a shell.
pub(crate) fn completions(options: &args::Completions) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "netrunner", &mut script);
    match io::stdout().write_all(&script) {
        Ok(()) => 0,
        Err(error) => {
            complain(format_args!("failed to write the completions: {error}"));
            FAILED
        }
    }
}

/// Writes a page for the command and one for each subcommand.
pub(crate) fn man(options: &args::Man) -> u8 {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let pages = std::iter::once(&command).chain(command.get_subcommands());
    let written = std::fs::create_dir_all(&options.dir)
        .and_then(|()| pages.into_iter().try_for_each(|page| write_page(page, &options.dir)));
    match written {
        Ok(()) => 0,
        Err(error) => {
            let dir = options.dir.display();
            complain(format_args!("failed to write the manual pages to `{dir}`: {error}"));
            FAILED
        }
    }
}

fn write_page(command: &Command, dir: &Path) -> io::Result<()> {
    let source = concat!("netrunner ", env!("CARGO_PKG_VERSION"));
    let page = Man::new(command.clone()).source(source);
    let mut file = File::create(dir.join(page.get_filename()))?;
    page.render_title(&mut file)?;
    page.render_name_section(&mut file)?;
    // The crate's own synopsis lists all options and knows nothing of the `--` before a command.
    let usage = command.clone().render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage);
    let synopsis = usage.lines().map(str::trim).collect::<Vec<_>>().join("\n");
    file.write_all(as_it_stands("SYNOPSIS", &synopsis).as_bytes())?;
    page.render_description_section(&mut file)?;
    page.render_options_section(&mut file)?;
    if command.has_subcommands() {
        page.render_subcommands_section(&mut file)?;
    }
    if let Some(details) = command.get_after_long_help().or(command.get_after_help()) {
        file.write_all(as_it_stands("DETAILS", &details.to_string()).as_bytes())?;
    }
    Ok(())
}

/// A section whose lines stay as they are: the crate would fill them, and tables would be no tables.
fn as_it_stands(name: &str, text: &str) -> String {
    let mut section = format!(".SH {name}\n.nf\n");
    for line in text.lines() {
        // A dot or a quote at the beginning would be an order.
        section.push_str("\\&");
        section.push_str(&line.replace('\\', "\\e").replace('-', "\\-"));
        section.push('\n');
    }
    section.push_str(".fi\n");
    section
}
