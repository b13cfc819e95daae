//! Scenarios: text form, binary form, generation, mutation
