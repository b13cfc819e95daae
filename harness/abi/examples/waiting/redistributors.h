/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A part of waiting.c: redistributors, whose LPIs and tables stay as EL2 found them.
 * A hypercall of their own guards them. */
enum { GICR_CTLR = 0x0000, GICR_PROPBASER = 0x0070, GICR_PENDBASER = 0x0078, GICR_VLPI = 0x20000 };

static bool is_wide_in_redistributor(u64 offset)
{
	switch (offset) {
	case 0x08: /* TYPER */
	case 0x40: /* SETLPIR */
	case 0x48: /* CLRLPIR */
	case GICR_PROPBASER:
	case GICR_PENDBASER:
	case 0xa0: /* INVLPIR */
	case 0xb0: /* INVALLR */
	case GICR_VLPI + GICR_PROPBASER:
	case GICR_VLPI + GICR_PENDBASER:
		return true;
	default:
		return false;
	}
}

static u64 trap_redistributor(const struct its_trap *trap)
{
	u64 low = trap->offset & ~7ULL, value = trap->value;
	bool wide = is_wide_in_redistributor(low), high = wide && trap->offset != low;
	struct its_redistributor found;

	if (its_redistributor(trap->index, &found) || trap->offset >= 0x40000 ||
	    trap->offset % trap->bytes || (trap->bytes != 4 && !(wide && trap->bytes == 8)))
		return 0;
	if (!trap->write) {
		value = its_read_device(found.address + (wide ? low : trap->offset), wide ? 8 : 4);
		return trap->bytes == 8 ? value : (value >> (high ? 32 : 0)) & 0xffffffffULL;
	}
	if (high || low == GICR_PROPBASER || low == GICR_PENDBASER || BITS(trap->offset, 16, 2) == 2)
		return 0;
	if (trap->offset == GICR_CTLR)
		value = (value & ~1ULL) | (its_read_device(found.address + GICR_CTLR, 4) & 1);
	its_write_device(found.address + trap->offset, wide ? 8 : 4, value);
	return 0;
}

/* The host's tables of all redistributors are lent; ITS_LOCK_REDISTRIBUTORS. */
static bool lpi_tables_lent;

/* The configuration or the pending table of the n-th redistributor; empty where LPIs are off. */
static struct span lpi_table(u32 n, bool pending)
{
	struct its_redistributor found;
	u64 properties, bytes;

	if (its_redistributor(n, &found) || !(its_read_device(found.address + GICR_CTLR, 4) & 1))
		return (struct span){ 0, 0 };
	properties = its_read_device(found.address + GICR_PROPBASER, 8);
	bytes = BIT(BITS(properties, 0, 5) + 1);
	if (pending) {
		u64 start = its_read_device(found.address + GICR_PENDBASER, 8) & 0xfffffffff0000ULL;

		return (struct span){ start, bytes / 8 < 1024 ? 1024 : bytes / 8 };
	}
	return (struct span){ properties & 0xffffffffff000ULL, bytes < 8192 ? 0 : bytes - 8192 };
}

/* Lends the tables of all redistributors, or none. */
static bool lend_lpi_tables(void)
{
	struct its_redistributor found;
	u32 end = 0, n = 0;

	while (!its_redistributor(end / 2, &found))
		end += 2;
	while (n < end && lend(lpi_table(n / 2, n % 2)))
		n++;
	if (n == end)
		return true;
	while (n-- > 0 && !MISTAKE(LPI_TABLES_LENT_IN_PART))
		hand_back(lpi_table(n / 2, n % 2));
	return false;
}

int64_t its_subject_set_up_redistributors(u64 x1, u64 x2, u64 x3, u64 x4)
{
	bool done;

	(void)x1, (void)x2, (void)x3, (void)x4;
	if (!its_is_protected() || !its_all_cpus_finalized())
		return -1;
	its_lock(ITS_LOCK_REDISTRIBUTORS);
	done = (!lpi_tables_lent || MISTAKE(LPI_TABLES_LENT_AGAIN)) && lend_lpi_tables();
	lpi_tables_lent |= done;
	its_unlock(ITS_LOCK_REDISTRIBUTORS);
	return done ? 0 : -1;
}
