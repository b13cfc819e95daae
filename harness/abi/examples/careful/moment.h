/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A part of careful.c: when an ITS is set up. The hypercall may describe it alone. */
static bool only_describes(void)
{
	return CHOSEN(MOMENT_FIRST_TRAP) || (CHOSEN(MOMENT_LAST_FINALIZE) && !its_all_cpus_finalized());
}

static s32 describe(struct unit *unit, const u64 *arguments)
{
	if (unit->guarded && CHOSEN(AGAIN_ACCEPTED))
		return 0;
	if (unit->guarded || unit->described)
		return -EOPNOTSUPP;
	__builtin_memcpy(unit->arguments, arguments, sizeof(unit->arguments));
	unit->described = true;
	return 0;
}

/* The hypercall, with the n-th ITS. */
static s32 set_up(u32 n, const u64 *arguments)
{
	struct unit *unit = &units[n];
	s32 result;

	its_lock(ITS_LOCK_SET_UP);
	its_lock(ITS_LOCK_ITS + n);
	if (only_describes())
		result = describe(unit, arguments);
	else
		result = guard(unit, arguments[1], arguments[2], arguments[3]);
	its_unlock(ITS_LOCK_ITS + n);
	its_unlock(ITS_LOCK_SET_UP);
	return result;
}

/* Sets the n-th ITS up, if a hypercall described it. */
static void set_up_described(u32 n)
{
	struct unit *unit = &units[n];
	u64 *as = unit->arguments;

	its_lock(ITS_LOCK_SET_UP);
	if (unit->described) {
		s32 result;

		its_lock(ITS_LOCK_ITS + n);
		result = guard(unit, as[1], as[2], as[3]);
		unit->described = false;
		its_set_up_is_over(as[0], as[1], as[2], as[3], CHOSEN(ERRNO_ANY) && result ? -EPERM : result);
		its_unlock(ITS_LOCK_ITS + n);
	}
	its_unlock(ITS_LOCK_SET_UP);
}
