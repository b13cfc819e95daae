/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_NVHE_SPINLOCK_H
#define ITSDIFF_NVHE_SPINLOCK_H

#include <linux/bug.h>

/* A lock is known by its address. The word says whether somebody holds it. */
typedef struct {
	u32 held;
} hyp_spinlock_t;

#define __HYP_SPIN_LOCK_INITIALIZER { .held = 0 }
#define __HYP_SPIN_LOCK_UNLOCKED ((hyp_spinlock_t)__HYP_SPIN_LOCK_INITIALIZER)
#define DEFINE_HYP_SPINLOCK(name) hyp_spinlock_t name = __HYP_SPIN_LOCK_INITIALIZER

static __always_inline void hyp_spin_lock_init(hyp_spinlock_t *lock)
{
	WRITE_ONCE(lock->held, 0);
}

static __always_inline void hyp_spin_lock(hyp_spinlock_t *lock)
{
	its_lock_at(lock);
	WRITE_ONCE(lock->held, 1);
}

static __always_inline void hyp_spin_unlock(hyp_spinlock_t *lock)
{
	WRITE_ONCE(lock->held, 0);
	its_unlock_at(lock);
}

static __always_inline bool hyp_spin_is_locked(hyp_spinlock_t *lock)
{
	return READ_ONCE(lock->held);
}

#define hyp_assert_lock_held(lock) BUG_ON(!hyp_spin_is_locked(lock))

#endif
