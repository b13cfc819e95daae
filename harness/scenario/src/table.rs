//! Makes [`Operation`](crate::Operation), its numbers, its text and its documentation from one
//! table.

/// Declares operations. A row is a doc comment, the variant, its number in the binary form, its
/// name in the text form, `[cpu]` if a CPU does it, and its fields: each with its type and its
/// [`Argument`](crate::argument::Argument). Rows below `commands` are variants of
/// [`Command`](its_gic::Command); their names start with `command-`, which are two words in the
/// text.
macro_rules! operations {
    (
        operations { $(
            $(#[doc = $doc:literal])*
            $variant:ident = $number:literal $name:literal $([$cpu:ident])? {
                $($(#[$meta:meta])* $field:ident: $type:ty = $argument:expr),* $(,)?
            }
        )* }
        commands { $(
            $command:ident = $command_number:literal $command_name:literal {
                $($command_field:ident = $command_argument:expr),* $(,)?
            }
        )* }
    ) => {
        /// One thing that a CPU of the host, a device, or the world does. `cpu` is below
        /// [`MAX_CPUS`](its_machine::MAX_CPUS).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Operation {
            $(
                $(#[doc = $doc])*
                $variant { $($cpu: u8,)? $($(#[$meta])* $field: $type),* },
            )*
            /// The host writes a command into the next slot of its queue, and does not write
            /// GITS_CWRITER.
            Command { cpu: u8, command: HostCommand },
        }

        /// A kind of operation. Numbers stand in the binary form: they never change and are never
        /// reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Kind {
            $($variant = $number,)*
            $($command = $command_number,)*
            RawCommand = 0x10,
        }

        impl Kind {
            /// All of them.
            pub const ALL: &[Self] =
                &[$(Self::$variant,)* $(Self::$command,)* Self::RawCommand];

            /// Returns the name, in kebab case.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                    $(Self::$command => $command_name,)*
                    Self::RawCommand => "raw-command",
                }
            }

            /// Returns whether a CPU does it.
            pub const fn has_cpu(self) -> bool {
                match self {
                    $(Self::$variant => const {
                        let cpu: &[&str] = &[$(stringify!($cpu))?];
                        !cpu.is_empty()
                    },)*
                    $(Self::$command => true,)*
                    Self::RawCommand => true,
                }
            }

            /// Returns the arguments, in the order of the text form and of the words of a record.
            pub const fn arguments(self) -> &'static [Argument] {
                match self {
                    $(Self::$variant => const { &[$($argument,)*] },)*
                    $(Self::$command => const { &[$($command_argument,)*] },)*
                    Self::RawCommand => const { &[VALUE.bare(); 4] },
                }
            }

            /// Returns what it does, a sentence or more.
            pub(crate) const fn doc(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc),*),)*
                    $(Self::$command => " The host writes a command.",)*
                    Self::RawCommand => " The host writes four words as a command.",
                }
            }
        }

        impl Record {
            /// Returns the operation, with every number in its range.
            pub fn operation(self) -> Operation {
                let Self { kind, cpu: by, words } = self.fix();
                let mut rest = words.into_iter();
                let mut next = || rest.next().unwrap_or(0);
                match kind {
                    $(Kind::$variant => Operation::$variant {
                        $($cpu: by,)?
                        $($field: Word::unpack(next())),*
                    },)*
                    $(Kind::$command => {
                        let command = Command::$command {
                            $($command_field: Word::unpack(next())),*
                        };
                        Operation::Command { cpu: by, command }
                    })*
                    Kind::RawCommand => {
                        let words = std::array::from_fn(|_| next());
                        Operation::Command { cpu: by, command: Command::Raw { words } }
                    }
                }
            }
        }

        impl From<&Operation> for Record {
            fn from(operation: &Operation) -> Self {
                match *operation {
                    $(Operation::$variant { $($cpu,)? $($field),* } => {
                        Self::new(Kind::$variant, &[$($cpu)?], &[$(Word::pack($field)),*])
                    })*
                    $(Operation::Command { cpu, command: Command::$command { $($command_field),* } } => {
                        Self::new(Kind::$command, &[cpu], &[$(Word::pack($command_field)),*])
                    })*
                    Operation::Command { cpu, command: Command::Raw { words } } => {
                        Self::new(Kind::RawCommand, &[cpu], &words)
                    }
                }
            }
        }
    };
}

pub(crate) use operations;
