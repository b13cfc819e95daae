//! Values that the architecture leaves open.

/// What something can be: one of a few values, or anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Possible<T> {
    Any,
    /// Ascending, not empty.
    Of(Vec<T>),
}

impl<T: Ord + Copy> Possible<T> {
    pub(crate) fn only(value: T) -> Self {
        Self::Of(vec![value])
    }

    /// The one value, if there is only one.
    pub(crate) fn known(&self) -> Option<T> {
        match self {
            Self::Of(values) if values.len() == 1 => values.first().copied(),
            _ => None,
        }
    }

    /// All values; none if it can be anything.
    pub(crate) fn values(&self) -> &[T] {
        match self {
            Self::Any => &[],
            Self::Of(values) => values,
        }
    }

    pub(crate) fn allows(&self, value: T) -> bool {
        match self {
            Self::Any => true,
            Self::Of(values) => values.contains(&value),
        }
    }

    /// Whether nothing is possible both here and there.
    pub(crate) fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Of(here), Self::Of(there)) => !here.iter().any(|value| there.contains(value)),
            _ => false,
        }
    }

    /// Becomes what is possible here or there.
    pub(crate) fn join(&mut self, other: &Self) {
        let (Self::Of(here), Self::Of(there)) = (&mut *self, other) else {
            *self = Self::Any;
            return;
        };
        for value in there {
            if let Err(place) = here.binary_search(value) {
                here.insert(place, *value);
            }
        }
    }

    pub(crate) fn or(mut self, other: &Self) -> Self {
        self.join(other);
        self
    }
}

/// Whether something is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Truth {
    No,
    Maybe,
    Yes,
}

impl Truth {
    pub(crate) fn or(self, other: Self) -> Self {
        if self == other { self } else { Self::Maybe }
    }

    pub(crate) fn possible(self) -> bool {
        self != Self::No
    }
}
