/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * careful.c with a set-up of its own: what the host keeps stands before what the hardware uses,
 * tables before numbers, and the arguments come in another order. its_subject_describe makes such
 * a set-up of itsdiff's; all else is careful.c's.
 */
#include "itsdiff.h"

#define OWN_LAYOUT
struct described {
	uint64_t shadow, base;
	uint32_t page_bytes, order;
	uint64_t value;
};

struct descriptor {
	uint64_t host_queue, queue;
	struct described tables[8];
	uint64_t list, live_devices, queue_bytes;
};

#define its_subject_set_up careful_set_up
#include "careful.c"
#undef its_subject_set_up

int64_t its_subject_set_up(u64 descriptor_at, u64 count, u64 private_at, u64 device)
{
	return careful_set_up(device, private_at, descriptor_at, count);
}

void its_subject_describe(const struct its_set_up *ours, uint64_t *page, uint64_t *arguments)
{
	struct descriptor *theirs = (struct descriptor *)page;

	theirs->host_queue = ours->host_queue;
	theirs->queue = ours->queue;
	theirs->queue_bytes = ours->queue_bytes;
	theirs->live_devices = ours->live_devices;
	theirs->list = ours->live_list;
	for (u32 n = 0; n < 8; n++) {
		const struct its_table *table = &ours->tables[n];

		theirs->tables[n] = (struct described){
			.shadow = table->host_level1,
			.base = table->base,
			.page_bytes = table->page_bytes,
			.order = table->order,
			.value = table->baser,
		};
	}
	arguments[0] = ours->descriptor;
	arguments[1] = ours->pages;
	arguments[2] = ours->private_pages;
	arguments[3] = ours->control;
}
