//! The `measured` section: groups pass on what their rows do not say; each row becomes a [`Measurement`].

use peerbus_units::Bytes;

use super::context::{Context, Place};
use super::nvbandwidth;
use crate::expect::{self, Kind, Measure, Names, Ratio, Value, What};
use crate::file::{self, How};
use crate::measured::{Lines, Measurement, Unit};
use crate::{codes, expect::FlowValue};

/// What a group says for its rows.
#[derive(Clone, Default)]
struct Common {
    of: Option<Of>,
    how: Option<How>,
    unit: Option<Unit>,
    includes: Option<(Ratio, expect::Dimension)>,
    size: Option<Bytes>,
    family: Option<String>,
    source: Option<String>,
    table: Option<String>,
    left_out: Option<String>,
    deviation: Option<String>,
}

/// What a value is of: as written, and understood.
#[derive(Clone)]
struct Of {
    text: String,
    measure: Option<Measure>,
}

impl Context<'_> {
    /// All rows of the lists `measured` and `measured_from`. `names` are what the variants make, where all are known.
    pub(super) fn measured(
        &mut self,
        scenario: &file::Scenario,
        names: Option<&[Names]>,
        read: &mut dyn FnMut(&str) -> Result<String, String>,
    ) -> Vec<Measurement> {
        let mut rows = Vec::new();
        self.group(&scenario.measured, "measured", &Place::default(), &Common::default(), names, &mut rows);
        for (index, from) in scenario.measured_from.iter().enumerate() {
            let place = Place::default().element("measured_from", index);
            self.read_file(from, &place, names, read, &mut rows);
        }
        rows
    }

    fn group(
        &mut self,
        given: &[file::Measured],
        field: &'static str,
        place: &Place,
        common: &Common,
        names: Option<&[Names]>,
        rows: &mut Vec<Measurement>,
    ) {
        for (index, entry) in given.iter().enumerate() {
            let place = place.element(field, index);
            let own = self.common(entry, &place, common, names);
            if entry.rows.is_empty() {
                rows.extend(self.row(entry, &place, own));
            } else {
                self.group(&entry.rows, "rows", &place, &own, names, rows);
            }
        }
    }

    /// What `entry` says, and for the rest what its group does.
    fn common(
        &mut self,
        entry: &file::Measured,
        place: &Place,
        base: &Common,
        names: Option<&[Names]>,
    ) -> Common {
        let mut text = |leaf, name| self.take(leaf, place, name, "a text");
        let family = text(&entry.family, "family");
        let source = text(&entry.source, "source");
        let table = text(&entry.table, "table");
        let left_out = text(&entry.left_out, "left_out");
        let deviation = text(&entry.deviation, "deviation");
        let how = self.take(&entry.how, place, "how", "Single, Total, Mean, Min or Max").or(base.how);
        Common {
            of: self.of(entry, place, how.unwrap_or_default(), names).or_else(|| base.of.clone()),
            how,
            unit: self.unit(entry, place).or_else(|| base.unit.clone()),
            includes: self.includes(entry, place).or(base.includes),
            size: self.take(&entry.size, place, "size", "a size, such as 4KiB").or(base.size),
            family: family.or_else(|| base.family.clone()),
            source: source.or_else(|| base.source.clone()),
            table: table.or_else(|| base.table.clone()),
            left_out: left_out.or_else(|| base.left_out.clone()),
            deviation: deviation.or_else(|| base.deviation.clone()),
        }
    }

    fn of(&mut self, entry: &file::Measured, place: &Place, how: How, names: Option<&[Names]>) -> Option<Of> {
        let leaf = entry.of.as_ref()?;
        let place = place.field("of");
        let text = self.read(leaf, &place, "a value, such as \"flow.peer.throughput\"")?;
        // Rows that are left out may speak of what this scenario does not make.
        let names = names.filter(|_| entry.left_out.is_none());
        let measure = match understood(&text, how, names) {
            Ok(measure) => Some(measure),
            Err(problem) => {
                let span = self.inside(leaf, &problem.span);
                self.error_in(problem.code, span, &place, problem.message, problem.help);
                None
            }
        };
        Some(Of { text, measure })
    }

    fn unit(&mut self, entry: &file::Measured, place: &Place) -> Option<Unit> {
        let name = self.take(&entry.unit, place, "unit", "a unit, such as \"GB/s\"")?;
        let unit = Unit::new(&name);
        if unit.is_none() {
            let message = format!("`{name}` is no unit of a rate or a time");
            self.error(
                codes::MEASURED_UNIT,
                &place.field("unit"),
                message,
                "write GB/s, MB/s, GiB/s, Gbit/s, ns, us or ms",
            );
        }
        unit
    }

    fn includes(&mut self, entry: &file::Measured, place: &Place) -> Option<(Ratio, expect::Dimension)> {
        let text = self.take(&entry.includes, place, "includes", "a time, such as \"190ns\"")?;
        match expect::quantity(&text) {
            Ok(Value::Number(number, dimension)) => Some((number, dimension)),
            Ok(_) => None,
            Err(message) => {
                self.error(
                    codes::MEASURED_UNIT,
                    &place.field("includes"),
                    message,
                    "write it like \"190ns\"",
                );
                None
            }
        }
    }

    fn row(&mut self, entry: &file::Measured, place: &Place, common: Common) -> Option<Measurement> {
        let value = self.take(&entry.value, place, "value", "a number");
        let lines = self.lines(entry, place, common.left_out.is_some());
        if common.left_out.is_none() {
            let wanted = [
                (entry.value.is_some(), "value", "the number that was measured"),
                (common.unit.is_some() || entry.unit.is_some(), "unit", "its unit, such as \"GB/s\""),
                (
                    common.of.is_some() || entry.of.is_some(),
                    "of",
                    "what it is of, such as \"flow.peer.throughput\"",
                ),
            ];
            for (_, field, expected) in wanted.into_iter().filter(|(present, ..)| !present) {
                self.missing(place, field, expected);
            }
        }
        let measure = common.of.as_ref().and_then(|of| of.measure.clone());
        let base = match (value, &common.unit) {
            (Some(value), Some(unit)) => self.base_units(value, unit, &common, measure.as_ref(), place),
            _ => None,
        };
        if common.left_out.is_none() && (base.is_none() || measure.is_none()) {
            return None;
        }
        Some(Measurement {
            of: common.of.map(|of| of.text).unwrap_or_default(),
            measure,
            how: common.how.unwrap_or_default(),
            value: base,
            included: common.includes.map(|(included, _)| included),
            unit: common.unit.or_else(|| Unit::new("ns"))?,
            size: common.size,
            family: common.family.unwrap_or_else(|| "measured".to_owned()),
            source: common.source.unwrap_or_default(),
            table: common.table.unwrap_or_default(),
            lines,
            left_out: common.left_out,
            deviation: common.deviation,
        })
    }

    fn lines(&mut self, entry: &file::Measured, place: &Place, several: bool) -> Vec<(u32, u32)> {
        let expected = "a line of the table, from 1";
        let Some(text) = self.take(&entry.row, place, "row", expected) else { return Vec::new() };
        let lines =
            Lines::read(&text).filter(|lines| several || matches!(lines.as_slice(), [(a, b)] if a == b));
        if lines.is_none() {
            let message = format!("`{text}` is not one line of a table");
            let help = "write a number from 1; `2-25, 30` is for rows that are left out together";
            self.error(codes::MEASURED_ROW, &place.field("row"), message, help);
        }
        lines.unwrap_or_default()
    }

    /// The value in base units, without what it includes; reports a unit that does not fit what is measured.
    fn base_units(
        &mut self,
        value: f64,
        unit: &Unit,
        common: &Common,
        measure: Option<&Measure>,
        place: &Place,
    ) -> Option<Ratio> {
        if let Some(measure) = measure.filter(|measure| measure.what.kind() != Kind::Number(unit.dimension)) {
            let message = format!("{} is not written in {}", measure.what.kind(), unit.name);
            let help = "rates are compared with rates, times with times";
            self.error(codes::MEASURED_UNIT, place, message, help);
            return None;
        }
        let number = number(value, unit, common.includes);
        if number.is_none() {
            let message = format!("{value} {} is no value that can be compared", unit.name);
            let help =
                "a measured value is above 0, and above what it `includes`, which has its kind of unit";
            self.error(codes::MEASURED_ROW, place, message, help);
        }
        number
    }

    fn read_file(
        &mut self,
        from: &file::MeasuredFrom,
        place: &Place,
        names: Option<&[Names]>,
        read: &mut dyn FnMut(&str) -> Result<String, String>,
        rows: &mut Vec<Measurement>,
    ) {
        let file = self.require(&from.file, place, "file", "the path of a JSON file of nvbandwidth");
        let testcase = self.require(&from.testcase, place, "testcase", "the name of a test case");
        let pattern = self.require(&from.of, place, "of", "a value, such as \"flow.gpu{row}.throughput\"");
        let how = self.take(&from.how, place, "how", "Single, Total, Mean, Min or Max").unwrap_or_default();
        let family = self.take(&from.family, place, "family", "a text");
        let (Some(file), Some(testcase), Some(pattern)) = (file, testcase, pattern) else { return };
        let elements = read(&file)
            .map_err(|reason| format!("cannot read `{file}`: {reason}"))
            .and_then(|text| nvbandwidth::matrix(&text, &testcase));
        let elements = match elements {
            Ok(elements) => elements,
            Err(message) => {
                let help = "name a JSON file that nvbandwidth wrote, and one of its test cases";
                return self.error(codes::MEASURED_FILE, place, message, help);
            }
        };
        let Some(unit) = Unit::new("GB/s") else { return };
        for element in elements {
            let of = pattern
                .replace("{row}", &element.row.to_string())
                .replace("{column}", &element.column.to_string());
            match understood(&of, how, names) {
                Err(problem) => {
                    return self.error(problem.code, &place.field("of"), problem.message, problem.help);
                }
                Ok(measure) => rows.push(Measurement {
                    measure: Some(measure),
                    of,
                    how,
                    value: number(element.gbytes_per_s, &unit, None),
                    included: None,
                    unit: unit.clone(),
                    size: None,
                    family: family.clone().unwrap_or_else(|| testcase.clone()),
                    source: file.clone(),
                    table: String::new(),
                    lines: Vec::new(),
                    left_out: None,
                    deviation: None,
                }),
            }
        }
    }
}

/// The measure of `text`, if it makes one number.
fn understood(text: &str, how: How, names: Option<&[Names]>) -> Result<Measure, expect::Problem> {
    let measure = expect::parse_measure(text)?;
    let wrong = |message: String, help: &str| {
        let (span, help) = (0..text.len(), help.to_owned());
        Err(expect::Problem { code: codes::MEASURED_HOW, span, message, help })
    };
    if how == How::Total && measure.what != What::Flow(FlowValue::Throughput) {
        return wrong("`Total` is of the throughput of flows".to_owned(), "write `flow.NAME.throughput`");
    }
    let Some(names) = names else { return Ok(measure) };
    if let Some(problem) = expect::check_measure(&measure, names) {
        return Err(problem);
    }
    let bound = expect::bind(&measure, names);
    if how == How::Single && bound.len() > 1 {
        let message = format!("`{text}` stands for {} values", bound.len());
        return wrong(message, "say how they make one: `how: Total`, Mean, Min or Max");
    }
    if how == How::Total && bound.iter().any(|one| one.variant != bound[0].variant) {
        let message = format!("`{text}` stands for flows of several variants, which do not run together");
        return wrong(message, "name one variant: `flow.VARIANT/NAME.throughput`");
    }
    Ok(measure)
}

/// A number as its shortest decimal says it, in base units; `None` unless something above 0 remains.
fn number(value: f64, unit: &Unit, includes: Option<(Ratio, expect::Dimension)>) -> Option<Ratio> {
    let number = Ratio::decimal(&value.to_string())?.times(unit.scale)?;
    let zero = Ratio::whole(0);
    let (off, dimension) = includes.unwrap_or((zero, unit.dimension));
    (dimension == unit.dimension && number > off).then(|| number.distance(off))?
}
