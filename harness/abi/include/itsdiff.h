/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * itsdiff: what an emulation of the Arm GICv3 ITS at EL2 offers (its_subject_*), and what it is
 * offered (its_*).
 *
 * README.md of the crate says how to use it. Addresses are physical unless a name says otherwise;
 * pages are page frame numbers (physical address / 4096). Functions that can fail return 0 or a
 * negative errno, as Linux numbers them.
 *
 * A call of its_* that breaks its own conditions (memory that EL2 has not mapped, a device that is
 * not there, a lock that is not held) is a mistake of the emulation and does not return; no call
 * waits.
 */
#ifndef ITSDIFF_H
#define ITSDIFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Objects that were compiled with version 2 to 6 are taken too. */
#define ITS_ABI_VERSION 7

/* Frames that trap. */
#define ITS_FRAME_CONTROL 0       /* the control frame of ITS `index`, 64 KiB */
#define ITS_FRAME_TRANSLATION 1   /* the translation frame of ITS `index`, 64 KiB */
#define ITS_FRAME_REDISTRIBUTOR 2 /* all frames of redistributor `index` */

/* Locks, in the order in which they are taken. */
#define ITS_LOCK_SET_UP 0
#define ITS_LOCK_REDISTRIBUTORS 17 /* after ITS_LOCK_SET_UP, before ITS_LOCK_ITS */
#define ITS_LOCK_ITS 1     /* of the first ITS; the n-th one's is ITS_LOCK_ITS + n */
#define ITS_LOCK_MEMORY 16 /* page ownership: pKVM's host and hyp locks */

/* Kinds of barriers: ITS_DMB or ITS_DSB, plus the option as the instruction encodes it. */
#define ITS_DMB 0
#define ITS_DSB 16
enum its_barrier_option {
	ITS_OSHLD = 1,
	ITS_OSHST = 2,
	ITS_OSH = 3,
	ITS_NSHLD = 5,
	ITS_NSHST = 6,
	ITS_NSH = 7,
	ITS_ISHLD = 9,
	ITS_ISHST = 10,
	ITS_ISH = 11,
	ITS_LD = 13,
	ITS_ST = 14,
	ITS_SY = 15,
};

/* Kept for versions to come; an emulation takes none of these names: its_subject_cpu (a CPU comes
 * or goes), its_progress. */

/* ---- what the emulation offers; each function below is to be defined, unless it is said to be
 * optional ---- */

struct its_machine {
	uint32_t its;            /* how many ITSs, at most 8 and what its_policy says */
	uint32_t redistributors; /* how many redistributors, and CPUs, at most 8 and what its_policy says */
	uint64_t control[8];     /* addresses of the control frames */
};

struct its_policy {
	uint32_t records_per_page;   /* devices that one private page carries */
	uint32_t commands_in_flight; /* the most commands between the hardware's CREADR and CWRITER */
	uint32_t its;                /* the most ITSs of a board that it is played on; 0 means 2 */
	uint32_t redistributors;     /* the most redistributors; 0 means 2 */
};

struct its_trap {
	uint32_t cpu;    /* which CPU made the access */
	uint32_t frame;  /* ITS_FRAME_* */
	uint32_t index;  /* of the ITS or redistributor */
	uint32_t bytes;  /* 1, 2, 4 or 8 */
	uint64_t offset; /* bytes from the start of the frame; not necessarily aligned */
	uint32_t write;  /* 0: a read */
	uint32_t zero;
	uint64_t value; /* what is written, cut to `bytes` */
};

/* Put `ITS_SUBJECT_ABI;` into one source file. */
#define ITS_SUBJECT_ABI const uint32_t its_subject_abi = ITS_ABI_VERSION
extern const uint32_t its_subject_abi;

/* The machine starts; writable data is as the program was loaded. Calls nothing of its_*. Not 0:
 * it cannot run there. */
int32_t its_subject_create(const struct its_machine *machine);
/* The machine goes away; writable data is as its_subject_create left it. */
void its_subject_destroy(void);
/* Writable data was put back to what it was earlier: for what an emulation keeps elsewhere. */
void its_subject_reset(void);
/* What it declares about itself. */
void its_subject_policy(struct its_policy *policy);
/* The hypercall that sets up the emulation, with x1 to x4 as the host gave them. Returns what goes
 * into x1. */
int64_t its_subject_set_up(uint64_t x1, uint64_t x2, uint64_t x3, uint64_t x4);
/* Optional: the hypercall that guards redistributors, with x1 to x4 as the host gave them. Returns
 * what goes into x1. Where it is not defined the host gets -EOPNOTSUPP. */
int64_t its_subject_set_up_redistributors(uint64_t x1, uint64_t x2, uint64_t x3, uint64_t x4);
/* Optional: the hypercall that ends the emulation of an ITS, likewise. */
int64_t its_subject_tear_down(uint64_t x1, uint64_t x2, uint64_t x3, uint64_t x4);
/* Optional: a CPU was just finalized, the calling one. The host goes on when this returns. */
void its_subject_finalized(void);
/* An access of a finalized CPU. Returns what is read, of which the host gets so many bytes; means
 * nothing for a write. */
uint64_t its_subject_trap(const struct its_trap *trap);
/* Whether the host may give pages away by hypercall, asked once a CPU is finalized. */
bool its_subject_allows_donation(void);

/* A set-up as itsdiff's host makes it (POLICY.md, set-up): the arguments x1 to x4, and what it
 * wrote into the descriptor, which may be anything. Addresses are in the host's linear map, but
 * for the first; sizes are in bytes. */
struct its_table {
	uint64_t base;
	uint64_t host_level1;
	uint64_t baser;
	uint32_t order; /* 2^order pages of 4 KiB */
	uint32_t page_bytes;
};

struct its_set_up {
	uint64_t control;
	uint64_t private_pages;
	uint64_t descriptor;
	uint64_t pages; /* how many private pages; 0 means 1 */
	uint64_t queue;
	uint64_t host_queue;
	uint64_t queue_bytes;
	uint64_t live_devices;
	uint64_t live_list;
	struct its_table tables[8];
};

/* Optional, where x1 to x4 or the descriptor are others than POLICY.md's: makes them of ours,
 * as a host would. `page` is the descriptor's page, 512 words, all zero; `arguments` are four.
 * Calls nothing of its_*; asked before the call and when the descriptor is first read, and must
 * make the same of the same. */
void its_subject_describe(const struct its_set_up *ours, uint64_t *page, uint64_t *arguments);

/* ---- what it is offered ---- */

struct its_redistributor {
	uint64_t address;          /* of RD_base, 64 KiB aligned */
	uint64_t processor_number; /* GICR_TYPER.Processor_Number */
};

/* Whether protected mode is on. */
bool its_is_protected(void);
/* Whether every online CPU was finalized. */
bool its_all_cpus_finalized(void);
/* Whether firmware says that ITSs see what CPUs stored; false is dma-noncoherent. Where it says so,
 * Shareability that reads 0 in CBASER or BASER says otherwise. */
bool its_is_coherent(void);
/* The n-th redistributor; -ENODEV past the last. */
int32_t its_redistributor(uint32_t n, struct its_redistributor *redistributor);
/* One access to a device's register, of its own size and alignment. */
uint64_t its_read_device(uint64_t address, uint32_t bytes);
void its_write_device(uint64_t address, uint32_t bytes, uint64_t value);
/* WARN_ON: at EL2 it ends the machine, so it is a finding. */
void its_warn(void);
/* BUG, panic: does not return. */
void its_panic(void);
/* So many microseconds pass for the emulation, and for the machine what the scenario says; counted
 * as work. */
void its_delay(uint64_t microseconds);

/* The physical address of one in the host's linear map; -EINVAL outside it. */
int32_t its_from_host(uint64_t linear, uint64_t *address);
/* Where a physical address is for EL2; NULL for what is no memory. A page is aligned as one, and
 * pages that follow each other in one region of memory do so here. */
void *its_to_pointer(uint64_t address);
/* The physical address that a pointer into memory is for; ~0 for any other. */
uint64_t its_from_pointer(const void *pointer);
/* Whether all of these bytes are memory, in one region. */
bool its_is_memory(uint64_t address, uint64_t bytes);
/* The first word that is not zero among the whole words of `bytes` at an 8-byte aligned pointer
 * into memory, else NULL (memchr_inv). */
const void *its_first_word(const void *pointer, uint64_t bytes);
/* Cleans to the point of coherency: devices see what was stored. */
void its_clean(const void *pointer, uint64_t bytes);
/* Orders everything before against everything after, as devices see it: ITS_DSB + ITS_SY. */
void its_order(void);
/* A barrier of a kind: ITS_DMB or ITS_DSB, plus an option. Cleans are complete after a DSB of loads
 * and stores alone. Another number is a panic. */
void its_barrier(uint32_t kind);

/* A set-up is over that the emulation made at a moment of its own (set-up.moment in subject.toml):
 * x1 to x4 of the hypercall that described it, and what that would have returned. Called once for
 * each set-up, before its locks are given back. It is for those who judge; a kernel has no such
 * call. */
void its_set_up_is_over(uint64_t x1, uint64_t x2, uint64_t x3, uint64_t x4, int64_t result);

/* Page ownership; ITS_LOCK_MEMORY is held. */
int32_t its_share(uint64_t page);   /* host's own to shared with EL2; -EPERM */
int32_t its_unshare(uint64_t page); /* and back; -EPERM, -EBUSY: it is pinned */
int32_t its_pin(uint64_t page);     /* a shared page stays shared, and EL2 maps it; -EPERM, -EBUSY: 65535 pins */
int32_t its_unpin(uint64_t page);   /* one pin less; -EPERM */
uint32_t its_pins(uint64_t page);   /* pins of all parts of EL2 */
int32_t its_donate(uint64_t page, uint64_t pages);  /* host's own to EL2's, all or none; -EPERM */
int32_t its_reclaim(uint64_t page, uint64_t pages); /* EL2's to the host's own, all or none; -EPERM */
int32_t its_show(uint64_t page, uint64_t pages); /* the host may load from EL2's, all or none */
int32_t its_hide(uint64_t page, uint64_t pages); /* and no longer; both -EPERM */
/* A word that EL2 keeps for each page of memory for the emulation, 0 at first. */
uint32_t its_note(uint64_t page);
void its_set_note(uint64_t page, uint32_t note);

/* Locks: ITS_LOCK_*. */
void its_lock(uint32_t lock);
void its_unlock(uint32_t lock);
/* A lock by its address, in memory or own data, where nothing says what it protects: in any order,
 * before ITS_LOCK_MEMORY. */
void its_lock_at(const void *lock);
void its_unlock_at(const void *lock);

#endif
