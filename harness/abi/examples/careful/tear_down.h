/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A part of points.c: the end of an emulation, with TEAR_DOWN_AT_REST. */
static void give_back_itts(const struct unit *unit)
{
	give_back_flying(unit);
	for (u32 n = 0; n < unit->touched; n++)
		if (unit->records[n].one << 20)
			give_back_itt(itt_of(unit, &unit->records[n]));
}

static s32 end(struct unit *unit)
{
	if (!unit->guarded)
		return -EOPNOTSUPP;
	if (!is_at_rest(unit))
		return -EBUSY;
	for (u32 n = 0; n < 8; n++)
		if (unit->tables[n].recorded & VALID)
			hw_write(unit, BASER(n), unit->tables[n].recorded & ~VALID);
	hw_write(unit, CBASER, unit->cbaser & ~VALID);
	give_back_itts(unit);
	for (u32 group = ITTS; group-- > 0;)
		leave(unit, group, members(unit, group));
	zero_pages(unit->private);
	its_clean(its_to_pointer(unit->private.address), unit->private.bytes);
	reclaim(unit->private);
	reclaim(unit->descriptor);
	unit->guarded = false;
	unit->ended = true;
	return 0;
}

static s32 tear_down(u64 control)
{
	s32 result = -ENODEV;

	for (u32 n = 0; n < MOST_ITS; n++) {
		if (!units[n].control || units[n].control != control)
			continue;
		its_lock(ITS_LOCK_SET_UP);
		its_lock(ITS_LOCK_ITS + n);
		result = end(&units[n]);
		its_unlock(ITS_LOCK_ITS + n);
		its_unlock(ITS_LOCK_SET_UP);
	}
	return CHOSEN(ERRNO_ANY) && result ? -EPERM : result;
}
