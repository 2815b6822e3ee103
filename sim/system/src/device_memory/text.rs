//! [`DeviceMemory`] as a person reads it.

use std::fmt::{self, Write};

use peerbus_units::Bytes;

use super::cause::limit_text;
use super::{Answer, DeviceMemory, Granted, OnDemand, Refused, TrialReport, TrialRow};

/// The document as text, ending with a newline.
pub fn render_device_memory(document: &DeviceMemory) -> String {
    let mut out = String::new();
    let written = write_document(&mut out, document);
    assert!(written.is_ok(), "writing to a string cannot fail");
    out
}

fn write_document(out: &mut String, document: &DeviceMemory) -> fmt::Result {
    let devices = &document.devices;
    let total: Bytes = devices.iter().map(|device| Bytes(device.memory)).sum();
    writeln!(
        out,
        "{}, page structs of device memory: {} of {total}, {} of RAM",
        document.machine,
        count(devices.len(), "device"),
        Bytes(document.ram)
    )?;
    for answer in &document.answers {
        writeln!(out)?;
        write_answer(out, answer)?;
    }
    match &document.trials {
        Some(report) => write_trials(out, report),
        None => Ok(()),
    }
}

fn count(number: usize, word: &str) -> String {
    if number == 1 { format!("1 {word}") } else { format!("{number} {word}s") }
}

fn write_answer(out: &mut String, answer: &Answer) -> fmt::Result {
    let (granted, all) = (answer.granted.len(), answer.granted.len() + answer.refused.len());
    let verdict =
        if answer.fits() { "everything fits".to_owned() } else { format!("{granted} of {all} fit") };
    writeln!(out, "{}, {}: {verdict}", answer.profile.name(), answer.design.name())?;
    let limit = limit_text(answer.reach);
    writeln!(out, "  up to {:#x} ({limit}), in units of {}", answer.reach.last, Bytes(answer.granule))?;
    for grant in &answer.granted {
        write_granted(out, grant)?;
    }
    for refusal in &answer.refused {
        write_refused(out, refusal)?;
    }
    write!(out, "  page structs {}; left {}", Bytes(answer.page_structs), Bytes(answer.free))?;
    match answer.largest_hole {
        Some(hole) => {
            let last = hole.first.saturating_add(hole.size - 1);
            writeln!(out, ", largest hole {} at {:#x}-{last:#x}", Bytes(hole.size), hole.first)?;
        }
        None => writeln!(out)?,
    }
    answer.on_demand.as_ref().map_or(Ok(()), |found| write_on_demand(out, found))
}

fn write_on_demand(out: &mut String, found: &OnDemand) -> fmt::Result {
    let OnDemand { chunk, wanted, granted, taken, page_structs, refused } = found;
    let (chunk, taken, structs) = (Bytes(*chunk), Bytes(*taken), Bytes(*page_structs));
    writeln!(
        out,
        "  on demand, {chunk} at a time: {granted} of {wanted} chunks, which take {taken}; page structs {structs}"
    )?;
    refused.as_ref().map_or(Ok(()), |refusal| write_refused(out, refusal))
}

fn write_granted(out: &mut String, grant: &Granted) -> fmt::Result {
    let last = grant.first.saturating_add(grant.size.saturating_sub(1));
    writeln!(
        out,
        "    {:<8} {:>8}  {:#x}-{last:#x}  page structs {}",
        grant.device,
        Bytes(grant.size).to_string(),
        grant.first,
        Bytes(grant.page_structs)
    )
}

fn write_refused(out: &mut String, refusal: &Refused) -> fmt::Result {
    let (size, error) = (Bytes(refusal.size).to_string(), refusal.error.unwrap_or("no return"));
    writeln!(out, "    {:<8} {size:>8}  refused ({error}): {}", refusal.device, refusal.obstacle.name())?;
    for cause in &refusal.chain {
        writeln!(out, "      {:<12} {}", cause.what, cause.text)?;
    }
    Ok(())
}

fn write_trials(out: &mut String, report: &TrialReport) -> fmt::Result {
    let options = &report.options;
    writeln!(
        out,
        "\n{} with seed {}, {} different; everything fits in (95 % confidence)",
        count(usize::try_from(options.trials).unwrap_or(usize::MAX), "trial"),
        options.seed,
        report.distinct
    )?;
    for row in &report.rows {
        write_row(out, row)?;
    }
    Ok(())
}

fn write_row(out: &mut String, row: &TrialRow) -> fmt::Result {
    let (profile, design) = (row.profile.name(), row.design.name());
    write!(out, "  {profile:<10} {design:<14}  {}", row.fits.text())?;
    if !row.first_failures.is_empty() {
        let failures = row.first_failures.iter().map(|(kind, times)| format!("{} {times}", kind.name()));
        let failures: Vec<String> = failures.collect();
        let failures = failures.join(", ");
        write!(out, "; at worst {} of {} fit; first failure: {failures}", row.fewest, row.of)?;
    }
    writeln!(out)
}
