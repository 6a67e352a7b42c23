/* Which form of the LSTM this core and this model take: vectors (MVE), packed weights (DSP), or plain C.
 *
 * HK_LSTM_FITS_VECTORS and HK_LSTM_FITS_PACKING are set by firmware_gen: whether every layer of the model fits. */
#define HK_LSTM_VECTOR (HK_HAS_MVE && HK_LSTM_FITS_VECTORS)
#define HK_LSTM_PACKED (HK_HAS_DSP && HK_LSTM_FITS_PACKING && !HK_LSTM_VECTOR)

#define HK_LSTM_INLINE static inline __attribute__((always_inline))

/* Stops the compiler from addressing a table through another object's address, which costs an addition a look-up. */
#define HK_KEEP_IN_REGISTER(pointer) __asm__("" : "+r"(pointer))
