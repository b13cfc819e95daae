/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The careful emulation with mistakes at hand: a write to offset 0xc000 of the first ITS, where no
 * register is, makes the one of the written number. Each is reported by a rule (faults/).
 */
#define its_subject_trap careful_trap
#include "careful.c"
#undef its_subject_trap

static u64 cell;
static void (*volatile nowhere)(void);
/* What the compiler must not know. */
static volatile u64 far = 1 << 20, forever = 1, zero;

/* What no reset puts back, touched where nobody sees it. */
static u64 beyond __attribute__((section("beyond_reset")));

static u64 __attribute__((noinline, no_sanitize("kernel-address"))) count_beyond(void)
{
	return beyond++;
}

/* Deeper than any stack. */
static u64 __attribute__((noinline)) descend(volatile u64 *above)
{
	volatile u64 own[64];

	own[0] = *above;
	return forever ? own[0] + descend(own) + own[1] : 0;
}

static void err(u64 fault)
{
	struct unit *unit = &units[0];
	u64 *volatile null = NULL;
	u64 *host = its_to_pointer(unit->host_queue);
	volatile u64 words[4];

	switch (fault) {
	case 1: /* null is followed */
		cell = *null;
		break;
	case 2: /* a store beyond the end */
		(&cell)[far] = 1;
		break;
	case 3: /* a loop without end that touches memory */
		for (u64 n = 0;; n++)
			WRITE_ONCE(words[n & 3], n);
	case 4: /* one that touches none */
		for (;;)
			__asm__ volatile("");
	case 5: /* a slot is looked at, then copied */
		cell = READ_ONCE(host[0]);
		read_slot(unit->host_queue, (u64 *)words);
		break;
	case 6: /* a lock is kept */
		its_lock(ITS_LOCK_SET_UP + 2);
		break;
	case 7: /* BUG() */
		__builtin_trap();
	case 8:
		its_panic();
		break;
	case 9:
		cell = descend(&cell);
		break;
	case 10: /* a jump to null */
		nowhere();
		break;
	case 11: /* memory that is the host's alone */
		*(u64 *)its_to_pointer(queue_address(unit) + 640 * PAGE) = 1;
		break;
	case 12:
		its_delay(BIT(40));
		break;
	case 13:
		its_warn();
		break;
	case 14: /* work that depends on what was done before the reset */
		for (u64 n = count_beyond(); n; n--)
			its_order();
		break;
	case 15: /* divisions by zero, which go on with what arm64 has */
		words[0] = fault / zero;
		words[1] = fault % zero;
		words[2] = (u32)fault / (u32)zero;
		words[3] = -(s32)fault % (s32)zero;
		if (words[0] || words[1] != fault || words[2] || words[3] != -fault)
			its_panic();
		break;
	}
}

u64 its_subject_trap(const struct its_trap *trap)
{
	if (trap->frame == ITS_FRAME_CONTROL && trap->offset == 0xc000 && trap->write && !trap->index)
		err(trap->value);
	return careful_trap(trap);
}
