// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * A small emulation of the ITS in the style of a kernel's EL2. It guards what set-up finds and
 * judges each command. There is no suspend, and no new level-2 tables. It is safe, and not what
 * POLICY.md promises.
 */
#include <linux/bitfield.h>
#include <linux/errno.h>
#include <linux/io.h>
#include <linux/irqchip/arm-gic-v3.h>
#include <linux/kernel.h>
#include <linux/sizes.h>
#include <linux/string.h>

#include <asm/kvm_mmu.h>
#include <asm/kvm_pkvm.h>

#include <nvhe/mem_protect.h>
#include <nvhe/spinlock.h>
#include <nvhe/trap_handler.h>

#include "its_pages.h"

/* ---- tables */

static u64 table_page_size(u64 baser)
{
	static const u64 sizes[] = { SZ_4K, SZ_16K, SZ_64K, SZ_64K };

	return sizes[FIELD_GET(GITS_BASER_PAGE_SIZE_MASK, baser)];
}

static phys_addr_t table_base(u64 baser)
{
	u64 page_size = table_page_size(baser);

	if (page_size == SZ_64K)
		return GITS_BASER_ADDR_48_to_52(baser);
	return ALIGN_DOWN(baser & GENMASK_ULL(47, 12), page_size);
}

static u64 table_size(u64 baser)
{
	return GITS_BASER_NR_PAGES(baser) * table_page_size(baser);
}

static u64 table_ids(u64 baser)
{
	u64 entry_size = GITS_BASER_ENTRY_SIZE(baser);

	if (baser & GITS_BASER_INDIRECT)
		return table_size(baser) / GITS_LVL1_ENTRY_SIZE * (table_page_size(baser) / entry_size);
	return table_size(baser) / entry_size;
}

static bool in_table(struct its *its, u64 type, u64 id)
{
	for (int i = 0; i < GITS_BASER_NR_REGS; i++)
		if ((its->baser[i] & GITS_BASER_VALID) && GITS_BASER_TYPE(its->baser[i]) == type)
			return id < table_ids(its->baser[i]);
	return false;
}

static int take_level2(struct its *its, u64 baser)
{
	u64 page_size = table_page_size(baser), nr = table_size(baser) / GITS_LVL1_ENTRY_SIZE;
	__le64 *l1 = hyp_phys_to_virt(table_base(baser)), *entry = l1;

	while ((entry = memchr_inv(entry, 0, (l1 + nr - entry) * sizeof(*entry)))) {
		u64 l2;
		int ret;

		entry = PTR_ALIGN_DOWN(entry, sizeof(*entry));
		l2 = le64_to_cpu(READ_ONCE(*entry));
		if (l2 & GITS_BASER_VALID) {
			l2 &= ~GITS_BASER_VALID;
			if (l2 & ~GENMASK_ULL(51, 12) || !IS_ALIGNED(l2, page_size))
				return -EINVAL;
			ret = donate(its, l2, page_size);
			if (ret)
				return ret;
		}
		if (++entry == l1 + nr)
			break;
	}
	return 0;
}

static int take_table(struct its *its, int i, struct its_shadow_table *shadow)
{
	u64 baser = readq_relaxed(its_reg(its, GITS_BASER + 8 * i));
	u64 type = GITS_BASER_TYPE(baser);
	int ret;

	its->baser[i] = 0;
	if (!(baser & GITS_BASER_VALID))
		return shadow->baser & GITS_BASER_VALID ? -EINVAL : 0;
	if ((type != GITS_BASER_TYPE_DEVICE && type != GITS_BASER_TYPE_COLLECTION) ||
	    in_table(its, type, 0) ||
	    ((le64_to_cpu(shadow->baser) ^ baser) & TABLE_MATCH) ||
	    (table_page_size(baser) == SZ_16K && (baser & GENMASK_ULL(13, 12))) ||
	    hyp_virt_to_phys(kern_hyp_va(shadow->base)) != table_base(baser) ||
	    !is_linear(hyp_phys_to_virt(table_base(baser)), table_size(baser)))
		return -EINVAL;
	its->baser[i] = baser;
	ret = donate(its, table_base(baser), table_size(baser));
	if (ret || !(baser & GITS_BASER_INDIRECT))
		return ret;
	ret = take_level2(its, baser);
	if (ret)
		return ret;
	if (!PAGE_ALIGNED(shadow->host))
		return -EINVAL;
	return pin(its, hyp_virt_to_phys(kern_hyp_va(shadow->host)), table_size(baser));
}

/* ---- set-up */

static u64 itt_size(struct its *its, u64 size)
{
	return (2ULL << size) * (FIELD_GET(GITS_TYPER_ITT_ENTRY_SIZE, its->typer) + 1);
}

static bool itt_is_good(struct its *its, u64 id, u64 size, u64 itt)
{
	u64 max = min_t(u64, FIELD_GET(GITS_TYPER_IDBITS, its->typer), 15);

	return id < BIT_ULL(FIELD_GET(GITS_TYPER_DEVBITS, its->typer) + 1) &&
	       in_table(its, GITS_BASER_TYPE_DEVICE, id) && size <= max && !(itt & ~GENMASK_ULL(51, 8));
}

static int take_device(struct its *its, const struct its_live_device *live)
{
	struct its_live_device device;
	u64 size, itt;

	memcpy(&device, live, sizeof(device));
	size = le32_to_cpu(device.size);
	itt = le64_to_cpu(device.itt);
	if (!itt_is_good(its, le32_to_cpu(device.id), size, itt))
		return -EINVAL;
	return add_device(its, le32_to_cpu(device.id), itt, itt_size(its, size), DEVICE_MAPPED);
}

/* The list is EL2's while it is read. */
static int take_devices(struct its *its, struct its_shadow *shadow)
{
	u64 nr = le64_to_cpu(shadow->nr_devices), nr_pages, pfn;
	struct its_live_device *list = (void *)kern_hyp_va(shadow->devices);
	int ret = 0;

	if (!nr)
		return 0;
	if (nr > its->max_devices)
		return -ENOSPC;
	nr_pages = DIV_ROUND_UP(nr * sizeof(*list), PAGE_SIZE);
	pfn = hyp_virt_to_pfn(list);
	if (!PAGE_ALIGNED(list) || !is_linear(list, nr_pages * PAGE_SIZE) ||
	    __pkvm_host_donate_hyp(pfn, nr_pages))
		return -EPERM;
	for (u64 i = 0; i < nr && !ret; i++)
		ret = take_device(its, list + i);
	__pkvm_hyp_donate_host(pfn, nr_pages);
	return ret;
}

/* Tables of redistributors with LPIs on, which no ITS has yet. */
static int take_lpi_tables(struct its *its)
{
	for (unsigned int i = 0; i < num_protected_reg && !lpi_tables_held; i++) {
		void __iomem *rd = hyp_pfn_to_virt(pkvm_protected_regs[i].start_pfn);
		u64 prop, pend, bits;
		int ret;

		if (pkvm_protected_regs[i].num_pages != SZ_256K >> PAGE_SHIFT ||
		    !(readl_relaxed(rd + GICR_CTLR) & GICR_CTLR_ENABLE_LPIS))
			continue;
		prop = readq_relaxed(rd + GICR_PROPBASER);
		pend = readq_relaxed(rd + GICR_PENDBASER);
		bits = (prop & GICR_PROPBASER_IDBITS_MASK) + 1;
		ret = bits > 13 ? pin(its, GICR_PROPBASER_ADDRESS(prop), BIT_ULL(bits) - SZ_8K) : 0;
		if (!ret)
			ret = pin(its, GICR_PENDBASER_ADDRESS(pend), max_t(u64, BIT_ULL(bits) / 8, SZ_1K));
		if (ret)
			return ret;
	}
	return 0;
}

static int take_queue(struct its *its, struct its_shadow *shadow)
{
	void *host = (void *)kern_hyp_va(shadow->host_queue);
	phys_addr_t base;

	its->cbaser = readq_relaxed(its_reg(its, GITS_CBASER));
	base = GITS_CBASER_ADDRESS(its->cbaser);
	its->queue_size = ((its->cbaser & GITS_CBASER_PAGES_MASK) + 1) * PAGE_SIZE;
	if (!(its->cbaser & GITS_CBASER_VALID) || !IS_ALIGNED(base, SZ_64K) || !PAGE_ALIGNED(host) ||
	    hyp_virt_to_phys(kern_hyp_va(shadow->queue)) != base || shadow->queue_size != its->queue_size)
		return -EINVAL;
	its->queue = hyp_phys_to_virt(base);
	its->host_queue = host;
	if (!is_linear(its->queue, its->queue_size) || !is_linear(host, its->queue_size))
		return -EINVAL;
	return donate(its, base, its->queue_size) ?: pin(its, hyp_virt_to_phys(host), its->queue_size);
}

static int take_offsets(struct its *its)
{
	u64 creadr = readq_relaxed(its_reg(its, GITS_CREADR));
	u64 cwriter = readq_relaxed(its_reg(its, GITS_CWRITER));

	if (!(readl_relaxed(its_reg(its, GITS_CTLR)) & GITS_CTLR_ENABLE) ||
	    creadr != (cwriter & OFFSET_MASK))
		return -EBUSY;
	its->cwriter = its->judged = creadr;
	return 0;
}

static int take_all(struct its *its, struct its_shadow *shadow)
{
	u32 nr_held, nr_pages;
	int ret;

	its->typer = readq_relaxed(its_reg(its, GITS_TYPER));
	ret = take_queue(its, shadow);
	for (int i = 0; i < GITS_BASER_NR_REGS && !ret; i++)
		ret = take_table(its, i, &shadow->tables[i]);
	if (ret)
		return ret;
	nr_held = its->nr_held;
	nr_pages = its->held[nr_held - 1].nr_pages;
	ret = take_devices(its, shadow) ?: take_lpi_tables(its) ?: take_offsets(its);
	if (!ret)
		return 0;
	/* In the opposite order: who shared a page is the last to let go of it. */
	give_back(its, nr_held, nr_pages);
	for (u32 i = its->max_devices; i--;)
		if (its->devices[i].state != DEVICE_NONE)
			drop_device(&its->devices[i]);
	return ret;
}

static void clear_pages(u64 pfn, u64 nr_pages)
{
	for (u64 i = 0; i < nr_pages; i++) {
		clear_page(hyp_pfn_to_virt(pfn + i));
		kvm_flush_dcache_to_poc(hyp_pfn_to_virt(pfn + i), PAGE_SIZE);
	}
}

static int guard(struct its *its, void *priv, void *shadow_va, u64 nr_pages)
{
	static struct its_shadow shadow;
	u64 pfn = hyp_virt_to_pfn(priv), shadow_pfn = hyp_virt_to_pfn(shadow_va);
	int ret;

	if (its->guarded)
		return -EOPNOTSUPP;
	if (!PAGE_ALIGNED(priv) || !PAGE_ALIGNED(shadow_va) || nr_pages > 1024 ||
	    !is_linear(priv, nr_pages * PAGE_SIZE))
		return -EINVAL;
	if (__pkvm_host_donate_hyp(pfn, nr_pages))
		return -EPERM;
	clear_pages(pfn, nr_pages);
	ret = -EPERM;
	if (__pkvm_host_donate_hyp(shadow_pfn, 1))
		goto out;
	memcpy(&shadow, shadow_va, sizeof(shadow));
	its->held = priv;
	its->nr_held = 0;
	its->max_held = nr_pages * PAGE_SIZE / 2 / sizeof(*its->held);
	its->devices = priv + nr_pages * PAGE_SIZE / 2;
	its->max_devices = nr_pages * PAGE_SIZE / 2 / sizeof(*its->devices);
	its->nr_leaving = 0;
	ret = take_all(its, &shadow);
	if (!ret) {
		its->guarded = lpi_tables_held = true;
		return 0;
	}
	give_back(its, 0, 0);
	__pkvm_hyp_donate_host(shadow_pfn, 1);
out:
	clear_pages(pfn, nr_pages);
	__pkvm_hyp_donate_host(pfn, nr_pages);
	return ret;
}

static struct its *its_at(phys_addr_t base)
{
	for (int i = 0; i < ITS_MAX && i < (int)num_protected_reg; i++) {
		if (hyp_pfn_to_phys(pkvm_protected_regs[i].start_pfn) != base ||
		    pkvm_protected_regs[i].num_pages != SZ_128K >> PAGE_SHIFT)
			continue;
		its_all[i].base = base;
		return &its_all[i];
	}
	return NULL;
}

void handle___pkvm_init_its_emulation(struct kvm_cpu_context *host_ctxt);
void handle___pkvm_init_its_emulation(struct kvm_cpu_context *host_ctxt)
{
	DECLARE_REG(phys_addr_t, base, host_ctxt, 1);
	DECLARE_REG(void *, priv, host_ctxt, 2);
	DECLARE_REG(void *, shadow, host_ctxt, 3);
	DECLARE_REG(u64, nr_pages, host_ctxt, 4);
	struct its *its = its_at(base);
	int ret = -ENODEV;

	if (its) {
		hyp_spin_lock(&set_up_lock);
		hyp_spin_lock(&its->lock);
		ret = guard(its, kern_hyp_va(priv), kern_hyp_va(shadow), nr_pages ?: 1);
		hyp_spin_unlock(&its->lock);
		hyp_spin_unlock(&set_up_lock);
	}
	cpu_reg(host_ctxt, 1) = ret;
}

/* ---- commands */

static bool is_target(struct its *its, u64 rdbase)
{
	for (unsigned int i = 0; i < num_protected_reg; i++) {
		phys_addr_t rd = hyp_pfn_to_phys(pkvm_protected_regs[i].start_pfn);

		if (pkvm_protected_regs[i].num_pages != SZ_256K >> PAGE_SHIFT)
			continue;
		if (its->typer & GITS_TYPER_PTA ? rdbase == rd >> 16 :
		    rdbase == GICR_TYPER_CPU_NUMBER(readq_relaxed(hyp_phys_to_virt(rd) + GICR_TYPER)))
			return true;
	}
	return false;
}

static bool is_collection(struct its *its, u64 icid)
{
	u64 bits = its->typer & GITS_TYPER_CIL ? FIELD_GET(GITS_TYPER_CIDBITS, its->typer) + 1 : 16;

	return icid < BIT_ULL(bits) &&
	       (icid < GITS_TYPER_HCC(its->typer) || in_table(its, GITS_BASER_TYPE_COLLECTION, icid));
}

/* Leaves of a command what means something. Whether the ITS may have it. */
static bool judge(struct its *its, struct its_cmd *cmd)
{
	u64 *word = cmd->word, op = word[0] & 0xff, valid = word[2] & BIT_ULL(63);
	u64 rdbase = word[2] & GENMASK_ULL(51, 16), icid = word[2] & 0xffff;

	hyp_assert_lock_held(&its->lock);
	word[0] &= op | GENMASK_ULL(63, 32);
	switch (op) {
	case GITS_CMD_MAPD:
		word[1] &= valid ? 0x1f : 0;
		word[2] &= valid ? valid | GENMASK_ULL(51, 8) : 0;
		word[3] = 0;
		if (!itt_is_good(its, word[0] >> 32, word[1], word[2] & ~valid))
			return false;
		return !valid || !add_device(its, word[0] >> 32, word[2] & ~valid,
					     itt_size(its, word[1]), DEVICE_JUDGED);
	case GITS_CMD_MAPC:
		*cmd = (struct its_cmd){ { op, 0, valid ? valid | rdbase | icid : icid, 0 } };
		return is_collection(its, icid) && (!valid || is_target(its, rdbase >> 16));
	case GITS_CMD_SYNC:
		*cmd = (struct its_cmd){ { op, 0, rdbase, 0 } };
		return is_target(its, rdbase >> 16);
	case GITS_CMD_MOVALL:
		*cmd = (struct its_cmd){ { op, 0, rdbase, word[3] & GENMASK_ULL(51, 16) } };
		return is_target(its, rdbase >> 16) && is_target(its, word[3] >> 16);
	case GITS_CMD_INVALL:
		*cmd = (struct its_cmd){ { op, 0, icid, 0 } };
		return true;
	case GITS_CMD_MAPTI:
		*cmd = (struct its_cmd){ { word[0], word[1], icid, 0 } };
		return true;
	case GITS_CMD_MAPI:
	case GITS_CMD_MOVI:
		*cmd = (struct its_cmd){ { word[0], word[1] & U32_MAX, icid, 0 } };
		return true;
	case GITS_CMD_INT:
	case GITS_CMD_CLEAR:
	case GITS_CMD_INV:
	case GITS_CMD_DISCARD:
		*cmd = (struct its_cmd){ { word[0], word[1] & U32_MAX, 0, 0 } };
		return true;
	default:
		return false;
	}
}

static u64 distance(struct its *its, u64 from, u64 to)
{
	return (to + its->queue_size - from) % its->queue_size / CMD_SIZE;
}

/* Gives back the ITTs of devices that the ITS is done with. */
static void release(struct its *its, u64 creadr)
{
	u64 in_flight = distance(its, creadr, its->judged);

	for (u32 i = 0; i < its->max_devices && its->nr_leaving; i++) {
		struct its_device *device = &its->devices[i];

		if (device->state != DEVICE_LEAVING || distance(its, creadr, device->gone_at) < in_flight)
			continue;
		drop_device(device);
		its->nr_leaving--;
	}
}

/* Judges what the host submitted, as far as the hardware has room. */
static void submit(struct its *its)
{
	u64 creadr = readq_relaxed(its_reg(its, GITS_CREADR)) & OFFSET_MASK, before = its->judged;

	if (!(readl_relaxed(its_reg(its, GITS_CTLR)) & GITS_CTLR_ENABLE) || creadr >= its->queue_size)
		return;
	release(its, creadr);
	while (its->judged != its->cwriter && distance(its, creadr, its->judged) < CMDS_IN_FLIGHT) {
		struct its_cmd cmd;

		memcpy(&cmd, its->host_queue + its->judged, sizeof(cmd));
		if (!judge(its, &cmd))
			break;
		if ((cmd.word[0] & 0xff) == GITS_CMD_MAPD)
			note_mapd(its, cmd.word[0] >> 32, its->judged);
		memcpy(its->queue + its->judged, &cmd, sizeof(cmd));
		kvm_flush_dcache_to_poc(its->queue + its->judged, sizeof(cmd));
		its->judged = (its->judged + CMD_SIZE) % its->queue_size;
	}
	if (its->judged != before)
		writeq_relaxed(its->judged, its_reg(its, GITS_CWRITER));
}

/* ---- registers */

static bool is_wide(u64 offset)
{
	return offset == GITS_TYPER || (offset >= GITS_CBASER && offset <= GITS_CREADR) ||
	       (offset >= GITS_BASER && offset < GITS_BASER + 8 * GITS_BASER_NR_REGS);
}

static u64 its_read(struct its *its, u64 offset)
{
	if (offset == GITS_CREADR && its->guarded)
		submit(its);
	if (offset == GITS_CWRITER && its->guarded)
		return its->cwriter;
	if (is_wide(offset))
		return readq_relaxed(its_reg(its, offset));
	if (offset == GITS_CTLR || offset == GITS_IIDR || offset >= GITS_IDREGS_BASE)
		return readl_relaxed(its_reg(its, offset));
	return 0;
}

static void its_write(struct its *its, u64 offset, u64 value)
{
	if (offset != GITS_CWRITER || !its->guarded || (value & OFFSET_MASK) >= its->queue_size)
		return;
	its->cwriter = value & OFFSET_MASK;
	submit(its);
}

pkvm_emulate_handler pkvm_handle_its, pkvm_handle_redistributor;

void pkvm_handle_its(struct pkvm_protected_reg *region, u64 offset, bool write, u64 *reg,
		     u8 reg_size)
{
	struct its *its = its_at(hyp_pfn_to_phys(region->start_pfn));
	u64 start = ALIGN_DOWN(offset, 8), shift = 0;

	if (!its || offset >= SZ_64K || !IS_ALIGNED(offset, reg_size))
		goto none;
	if (!is_wide(start))
		start = offset;
	else if (reg_size == 4)
		shift = (offset - start) * 8;
	if (reg_size != (is_wide(start) ? 8 : 4) && !(is_wide(start) && reg_size == 4))
		goto none;
	hyp_spin_lock(&its->lock);
	if (!write)
		*reg = its_read(its, start) >> shift;
	else if (!shift)
		its_write(its, start, *reg);
	hyp_spin_unlock(&its->lock);
	return;
none:
	if (!write)
		*reg = 0;
}

/* Reads go through, and so do writes but for what says where LPIs' tables are. */
void pkvm_handle_redistributor(struct pkvm_protected_reg *region, u64 offset, bool write, u64 *reg,
			       u8 reg_size)
{
	void __iomem *rd = hyp_pfn_to_virt(region->start_pfn);

	if (!write)
		*reg = 0;
	if (reg_size != 4 || !IS_ALIGNED(offset, 4) || offset >= GICR_VLPI_FRAME)
		return;
	if (offset == GICR_TYPER || offset == GICR_TYPER + 4) {
		if (!write)
			*reg = readq_relaxed(rd + GICR_TYPER) >> (offset == GICR_TYPER ? 0 : 32);
		return;
	}
	/* The other registers of 64 bits. */
	if (offset >= GICR_SETLPIR && offset < GICR_SYNCR)
		return;
	if (!write)
		*reg = readl_relaxed(rd + offset);
	else if (offset != GICR_CTLR)
		writel_relaxed(*reg, rd + offset);
}

bool pkvm_may_donate(void);
bool pkvm_may_donate(void)
{
	for (unsigned int i = 0; i < num_protected_reg; i++)
		if (pkvm_protected_regs[i].num_pages == SZ_128K >> PAGE_SHIFT &&
		    (i >= ITS_MAX || !its_all[i].guarded))
			return false;
	return true;
}
