//! Keyword arguments: the choices of the command `ufr create`, by its names.

use std::path::PathBuf;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use ultrafastring::{Builder, PriorityClass, UltraFastRing};

use crate::errors;
use crate::input::priority_of;

/// How a ring was opened, so that another process can do the same.
#[derive(Clone, Default)]
pub(crate) struct Opening {
    pub(crate) directory: Option<PathBuf>,
    pub(crate) trust: Option<String>,
    pub(crate) trust_peers: bool,
    pub(crate) participant_name: Option<String>,
}

/// A word of a setting.
fn word<T: std::str::FromStr>(setting: &str, value: &Bound<'_, PyAny>) -> PyResult<T>
where
    T::Err: std::fmt::Display,
{
    let text: String = value.cast::<PyString>()?.extract()?;
    text.parse().map_err(|error| errors::word(setting, &text, error))
}

impl Opening {
    /// Takes one of the arguments that concern who opens a ring; `false` if it is none of them.
    fn take(&mut self, setting: &str, value: &Bound<'_, PyAny>) -> PyResult<bool> {
        match setting {
            "directory" => self.directory = Some(value.extract()?),
            "trust" => {
                word::<ultrafastring::Trust>(setting, value)?;
                self.trust = Some(value.extract()?);
            }
            "trust_peers" => self.trust_peers = value.extract()?,
            "participant_name" => self.participant_name = Some(value.extract()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What the arguments say; any other is an error.
    pub(crate) fn of(kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let mut opening = Self::default();
        for (name, value) in kwargs.into_iter().flatten() {
            let name: String = name.extract()?;
            if !value.is_none() && !opening.take(&name, &value)? {
                return Err(unknown(&name));
            }
        }
        Ok(opening)
    }

    /// A builder that opens in this way.
    pub(crate) fn builder(&self) -> PyResult<Builder> {
        self.apply(UltraFastRing::builder())
    }

    fn apply(&self, mut builder: Builder) -> PyResult<Builder> {
        if let Some(directory) = &self.directory {
            builder = builder.directory(directory);
        }
        if let Some(trust) = &self.trust {
            builder = builder.trust(trust.parse().map_err(|it| errors::word("trust", trust, it))?);
        }
        if let Some(name) = &self.participant_name {
            builder = builder.participant_name(name);
        }
        if self.trust_peers {
            // SAFETY: the program vouches for its peers by `trust_peers=True`, whose documentation
            // says what it vouches for.
            builder = unsafe { builder.trust_peers() };
        }
        Ok(builder)
    }
}

#[cold]
fn unknown(name: &str) -> PyErr {
    PyTypeError::new_err(format!(
        "{name}= is no setting here; see help(ultrafastring.Ring), or the settings of `ufr create`"
    ))
}

/// All arguments of a call that makes a ring.
pub(crate) fn all(kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<(Builder, Opening)> {
    let mut builder = UltraFastRing::builder();
    let mut opening = Opening::default();
    for (name, value) in kwargs.into_iter().flatten() {
        let name: String = name.extract()?;
        if !value.is_none() && !opening.take(&name, &value)? {
            builder = choose(builder, &name, &value)?;
        }
    }
    Ok((opening.apply(builder)?, opening))
}

fn choose(builder: Builder, name: &str, value: &Bound<'_, PyAny>) -> PyResult<Builder> {
    let on = || value.extract::<bool>();
    Ok(match name {
        "capacity" => builder.capacity(value.extract()?),
        "max_message" => builder.max_message(value.extract()?),
        "side_memory" => builder.side_memory(word(name, value)?),
        "exclusive_producer" if on()? => builder.exclusive_producer(),
        "exclusive_consumer" if on()? => builder.exclusive_consumer(),
        "exclusive_producer" => builder.producer_side(ultrafastring::Sharing::Shared),
        "exclusive_consumer" => builder.consumer_side(ultrafastring::Sharing::Shared),
        "groups" => {
            let names: Vec<String> = value.extract()?;
            builder.groups(names.iter().map(String::as_str))
        }
        "joinable" if on()? => builder.joinable(),
        "joinable" => builder,
        "lanes" => builder.lanes(word(name, value)?),
        "capacity_of" => {
            of_classes(builder, value, |it, class, slots| it.capacity_of(class, slots as usize))?
        }
        "credit_limit_of" => of_classes(builder, value, Builder::credit_limit_of)?,
        "max_message_of" => {
            of_classes(builder, value, |it, class, bytes| it.max_message_of(class, bytes as usize))?
        }
        "credit_limit" => builder.credit_limit(value.extract()?),
        "reserve" => of_classes(builder, value, Builder::reserve)?,
        "latency_histograms" => builder.latency_histograms(on()?),
        "timestamps" => builder.timestamps(word(name, value)?),
        "redelivery" => builder.redelivery(word(name, value)?),
        "participants" => builder.participants(value.extract()?),
        "fences" if on()? => builder.fences(),
        "fences" => builder,
        "huge_pages" => builder.huge_pages(on()?),
        "accept_existing" => builder.accept_existing(on()?),
        _ => return Err(unknown(name)),
    })
}

/// A setting of some classes, by class.
fn of_classes(
    mut builder: Builder,
    value: &Bound<'_, PyAny>,
    choose: fn(Builder, PriorityClass, u64) -> Builder,
) -> PyResult<Builder> {
    for (class, number) in value.cast::<PyDict>()? {
        builder = choose(builder, priority_of(&class)?, number.extract()?);
    }
    Ok(builder)
}
