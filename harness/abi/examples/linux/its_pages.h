/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A part of its_emulate.c: its state, and pages that change hands. */
#define ITS_MAX 2
#define CMD_SIZE 32
#define CMDS_IN_FLIGHT 64
#define OFFSET_MASK GENMASK_ULL(19, 5)
#define TABLE_MATCH (GITS_BASER_VALID | GITS_BASER_INDIRECT | GENMASK_ULL(58, 56) | GITS_BASER_ENTRY_SIZE_MASK)
#define GICR_VLPI_FRAME SZ_128K

struct its_shadow_table {
	__le64 base, host, baser;
	__le32 order, page_size;
};

/* What the host says of its ITS, in a page. */
struct its_shadow {
	__le64 queue, host_queue, queue_size, nr_devices, devices, reserved[3];
	struct its_shadow_table tables[GITS_BASER_NR_REGS];
};

struct its_live_device {
	__le32 id, size;
	__le64 itt;
};

struct its_cmd {
	__le64 word[4];
};

/* Pages that changed hands, in the order in which they did. */
struct its_held {
	u64 pfn;
	u32 nr_pages, how;
};

#define DONATED 0
#define PINNED 1
#define SHARED_AND_PINNED 2

struct its {
	hyp_spinlock_t lock;
	phys_addr_t base;
	bool guarded;
	u64 typer, cbaser, baser[GITS_BASER_NR_REGS];
	void *queue, *host_queue;
	u64 queue_size, cwriter, judged;
	struct its_held *held;
	u32 nr_held, max_held;
};

static struct its its_all[ITS_MAX];
static bool lpi_tables_held;
static DEFINE_HYP_SPINLOCK(set_up_lock);

static void __iomem *its_reg(struct its *its, u64 offset)
{
	return hyp_phys_to_virt(its->base) + offset;
}

/* ---- pages */

static int hold(struct its *its, u64 pfn, u64 nr_pages, u32 how)
{
	struct its_held *last = its->held + its->nr_held - 1;

	if (its->nr_held && last->how == how && how != DONATED && last->pfn + last->nr_pages == pfn) {
		last->nr_pages += nr_pages;
		return 0;
	}
	if (its->nr_held == its->max_held)
		return -ENOSPC;
	its->held[its->nr_held++] = (struct its_held){ pfn, nr_pages, how };
	return 0;
}

static void unpin_page(u64 pfn, bool unshare)
{
	void *va = hyp_pfn_to_virt(pfn);

	hyp_unpin_shared_mem(va, va + PAGE_SIZE);
	if (unshare)
		__pkvm_host_unshare_hyp(pfn);
}

static int pin_page(struct its *its, u64 pfn)
{
	bool shared = !__pkvm_host_share_hyp(pfn);
	void *va = hyp_pfn_to_virt(pfn);
	int ret = hyp_pin_shared_mem(va, va + PAGE_SIZE);

	if (ret) {
		if (shared)
			__pkvm_host_unshare_hyp(pfn);
		return ret;
	}
	ret = hold(its, pfn, 1, shared ? SHARED_AND_PINNED : PINNED);
	if (ret)
		unpin_page(pfn, shared);
	return ret;
}

/* Gives back what was taken since there were so many entries, and pages in the last of them. */
static void give_back(struct its *its, u32 nr_held, u32 nr_pages)
{
	while (its->nr_held > nr_held || (nr_held && its->held[nr_held - 1].nr_pages > nr_pages)) {
		struct its_held *last = &its->held[its->nr_held - 1];

		if (last->how == DONATED) {
			__pkvm_hyp_donate_host(last->pfn, last->nr_pages);
			last->nr_pages = 0;
		} else {
			last->nr_pages--;
			unpin_page(last->pfn + last->nr_pages, last->how == SHARED_AND_PINNED);
		}
		if (!last->nr_pages)
			its->nr_held--;
	}
}

static int donate(struct its *its, phys_addr_t base, u64 size)
{
	u64 pfn = hyp_phys_to_pfn(base), nr_pages = size >> PAGE_SHIFT;
	int ret = __pkvm_host_donate_hyp(pfn, nr_pages);

	if (ret)
		return ret;
	ret = hold(its, pfn, nr_pages, DONATED);
	if (ret)
		__pkvm_hyp_donate_host(pfn, nr_pages);
	return ret;
}

/* All or nothing. */
static int pin(struct its *its, phys_addr_t base, u64 size)
{
	u32 nr_held = its->nr_held, nr_pages = nr_held ? its->held[nr_held - 1].nr_pages : 0;
	u64 nr = PAGE_ALIGN(offset_in_page(base) + size) >> PAGE_SHIFT;

	for (u64 i = 0; i < nr; i++) {
		int ret = pin_page(its, hyp_phys_to_pfn(base) + i);

		if (ret) {
			give_back(its, nr_held, nr_pages);
			return ret;
		}
	}
	return 0;
}

/* Whether it lies behind each other for EL2 as it does in memory. */
static bool is_linear(void *va, u64 size)
{
	return size && hyp_virt_to_phys(va + size - 1) == hyp_virt_to_phys(va) + size - 1;
}
