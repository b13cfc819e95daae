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

/* Whether all names that the variable has, with "; " between them, are some of these; which, one bit
 * each. */
static bool __attribute__((unused, no_sanitize("kernel-address")))
picked_all(const char *variable, const char *const *names, uint32_t count, uint64_t *all)
{
	const char *name = getenv(variable);

	*all = 0;
	while (name && *name) {
		uint32_t n = 0, length = 0;

		for (; n < count; n++) {
			for (length = 0; names[n][length] && names[n][length] == name[length];)
				length++;
			if (length && !names[n][length] && (!name[length] || name[length] == ';'))
				break;
		}
		if (n == count)
			return false;
		*all |= 1ULL << n;
		name += length;
		name += *name ? 2 : 0;
	}
	return true;
}

/* The number of the name; 0 where the variable is not set, `count` where it has another. */
static uint32_t __attribute__((unused)) picked(const char *variable, const char *const *names, uint32_t count)
{
	const char *name = getenv(variable);
	uint32_t n = 0;

	while (name && n < count && !same(name, names[n]))
		n++;
	return n;
}
