/* CRC-32 as in Ethernet, gzip and Python's zlib.crc32 (IEEE 802.3, reflected, polynomial 0xEDB88320). */
#ifndef HK_CRC32_H
#define HK_CRC32_H

#include <stddef.h>
#include <stdint.h>

/* CRC-32 of n bytes that follow data whose CRC-32 is crc; 0 to begin. May be called from an interrupt. */
uint32_t hk_crc32(uint32_t crc, const void *data, size_t n);

#endif /* HK_CRC32_H */
