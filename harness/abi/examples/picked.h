/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Which of some names a variable of the environment has, which no emulation for a machine asks. */
extern char *getenv(const char *name);

/* Whether all names that the variable has, with "; " between them, are some of these; which of
 * them, one bit each. The environment is not the emulation's memory. */
static bool __attribute__((no_sanitize("kernel-address")))
picked(const char *variable, const char *const *names, uint32_t count, uint64_t *all)
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
