/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A part of its_emulate.c: its state, and pages that change hands. */
#define ITS_MAX 2
#define CMD_SIZE 32
#define CMDS_IN_FLIGHT 64
#define OFFSET_MASK GENMASK_ULL(19, 5)
#define TABLE_MATCH                                                               \
	(GITS_BASER_VALID | GITS_BASER_INDIRECT | GENMASK_ULL(58, 56) |            \
	 GITS_BASER_ENTRY_SIZE_MASK)
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

enum its_device_state { DEVICE_NONE, DEVICE_JUDGED, DEVICE_MAPPED, DEVICE_LEAVING };

/* A device and its ITT; leaving until the ITS has consumed the command at an offset. */
struct its_device {
	u64 itt;
	u32 id, size, state, gone_at;
};

struct its {
	hyp_spinlock_t lock;
	phys_addr_t base;
	bool guarded;
	u64 typer, cbaser, baser[GITS_BASER_NR_REGS];
	void *queue, *host_queue;
	u64 queue_size, cwriter, judged;
	struct its_held *held;
	u32 nr_held, max_held;
	struct its_device *devices;
	u32 nr_leaving, max_devices;
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

/* ---- devices */

static u64 itt_pages(const struct its_device *device)
{
	return PAGE_ALIGN(offset_in_page(device->itt) + device->size) >> PAGE_SHIFT;
}

/* A page that ITTs of any ITS are on: how many, and whether it was us who shared it. */
struct itt_page {
	u64 pfn;
	u32 nr_itts, ours;
};

static struct itt_page itt_page_all[1024];
static DEFINE_HYP_SPINLOCK(itt_lock);

static struct itt_page *itt_page_of(u64 pfn)
{
	struct itt_page *unused = NULL;

	for (u32 i = 0; i < ARRAY_SIZE(itt_page_all); i++) {
		struct itt_page *page = &itt_page_all[i];

		if (page->nr_itts && page->pfn == pfn)
			return page;
		if (!page->nr_itts && !unused)
			unused = page;
	}
	return unused;
}

static int pin_itt_page(u64 pfn)
{
	struct itt_page *page = itt_page_of(pfn);
	void *va = hyp_pfn_to_virt(pfn);
	bool shared;
	int ret;

	if (!page)
		return -ENOSPC;
	shared = !page->nr_itts && !__pkvm_host_share_hyp(pfn);
	ret = hyp_pin_shared_mem(va, va + PAGE_SIZE);
	if (ret) {
		if (shared)
			__pkvm_host_unshare_hyp(pfn);
		return ret;
	}
	if (!page->nr_itts)
		*page = (struct itt_page){ .pfn = pfn, .ours = shared };
	page->nr_itts++;
	return 0;
}

static void unpin_itt_pages(u64 pfn, u64 nr_pages)
{
	while (nr_pages--) {
		struct itt_page *page = itt_page_of(pfn + nr_pages);

		page->nr_itts--;
		unpin_page(pfn + nr_pages, !page->nr_itts && page->ours);
	}
}

static int pin_itt(const struct its_device *device)
{
	u64 pfn = hyp_phys_to_pfn(device->itt), nr_pages = itt_pages(device);
	int ret = 0;

	hyp_spin_lock(&itt_lock);
	for (u64 i = 0; i < nr_pages && !ret; i++) {
		ret = pin_itt_page(pfn + i);
		if (ret)
			unpin_itt_pages(pfn, i);
	}
	hyp_spin_unlock(&itt_lock);
	return ret;
}

static void unpin_itt(const struct its_device *device)
{
	hyp_spin_lock(&itt_lock);
	unpin_itt_pages(hyp_phys_to_pfn(device->itt), itt_pages(device));
	hyp_spin_unlock(&itt_lock);
}

static int add_device(struct its *its, u32 id, u64 itt, u64 size, u32 state)
{
	for (u32 i = 0; i < its->max_devices; i++) {
		struct its_device *device = &its->devices[i];
		int ret;

		if (device->state != DEVICE_NONE)
			continue;
		*device = (struct its_device){ .itt = itt, .id = id, .size = size };
		ret = pin_itt(device);
		if (!ret)
			device->state = state;
		return ret;
	}
	return -ENOSPC;
}

/* A MAPD was accepted as the command at this offset. */
static void note_mapd(struct its *its, u32 id, u32 offset)
{
	for (u32 i = 0; i < its->max_devices; i++) {
		struct its_device *device = &its->devices[i];

		if (device->id != id)
			continue;
		if (device->state == DEVICE_MAPPED) {
			device->state = DEVICE_LEAVING;
			device->gone_at = offset;
			its->nr_leaving++;
		} else if (device->state == DEVICE_JUDGED) {
			device->state = DEVICE_MAPPED;
		}
	}
}

static void drop_device(struct its_device *device)
{
	unpin_itt(device);
	device->state = DEVICE_NONE;
}

/* Whether it lies behind each other for EL2 as it does in memory. */
static bool is_linear(void *va, u64 size)
{
	return size && hyp_virt_to_phys(va + size - 1) == hyp_virt_to_phys(va) + size - 1;
}
