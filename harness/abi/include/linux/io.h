/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef ITSDIFF_LINUX_IO_H
#define ITSDIFF_LINUX_IO_H

#include <asm/barrier.h>
#include <asm/memory.h>

#define itsdiff_read(address, bytes) its_read_device(hyp_virt_to_phys((void *)(address)), bytes)
#define itsdiff_write(address, bytes, value) \
	its_write_device(hyp_virt_to_phys((void *)(address)), bytes, value)

#define readb_relaxed(address) ((u8)itsdiff_read(address, 1))
#define readw_relaxed(address) ((u16)itsdiff_read(address, 2))
#define readl_relaxed(address) ((u32)itsdiff_read(address, 4))
#define readq_relaxed(address) ((u64)itsdiff_read(address, 8))
#define writeb_relaxed(value, address) itsdiff_write(address, 1, (u8)(value))
#define writew_relaxed(value, address) itsdiff_write(address, 2, (u16)(value))
#define writel_relaxed(value, address) itsdiff_write(address, 4, (u32)(value))
#define writeq_relaxed(value, address) itsdiff_write(address, 8, (u64)(value))

/* A read comes before what follows it, which nothing here undoes; a write after what precedes. */
#define readb(address) readb_relaxed(address)
#define readw(address) readw_relaxed(address)
#define readl(address) readl_relaxed(address)
#define readq(address) readq_relaxed(address)
#define writeb(value, address) ({ dma_wmb(); writeb_relaxed(value, address); })
#define writew(value, address) ({ dma_wmb(); writew_relaxed(value, address); })
#define writel(value, address) ({ dma_wmb(); writel_relaxed(value, address); })
#define writeq(value, address) ({ dma_wmb(); writeq_relaxed(value, address); })
#define __raw_readl(address) readl_relaxed(address)
#define __raw_readq(address) readq_relaxed(address)
#define __raw_writel(value, address) writel_relaxed(value, address)
#define __raw_writeq(value, address) writeq_relaxed(value, address)

#endif
