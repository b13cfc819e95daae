/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Which of some names a variable of the environment has, which no emulation for a machine asks. */
extern char *getenv(const char *name);

/* The environment is not the emulation's memory. */
static bool __attribute__((no_sanitize("kernel-address"))) same(const char *one, const char *other)
{
	while (*one && *one == *other) {
		one++;
		other++;
	}
	return *one == *other;
}

/* The number of the name; 0 where the variable is not set, `count` where it has another. */
static uint32_t picked(const char *variable, const char *const *names, uint32_t count)
{
	const char *name = getenv(variable);
	uint32_t n = 0;

	while (name && n < count && !same(name, names[n]))
		n++;
	return n;
}
