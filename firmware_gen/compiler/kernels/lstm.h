/* One step of an int8 LSTM with int16 cell, in TFLM's order of roundings and saturations.
 *
 * The four gates of a unit are computed together, so that one pass over the input serves four rows of weights, and
 * the cell is updated while its gates are still in registers. */

enum { HK_GATE_INPUT, HK_GATE_FORGET, HK_GATE_CELL, HK_GATE_OUTPUT, HK_GATES };

/* Everything that is the same in every step: known to the compiler of this file, so it turns into immediate operands. */
typedef struct {
    uint32_t inputs;
    uint32_t units;
    hk_scale_t input_scale[HK_GATES];     /* to Q3.12 */
    hk_scale_t recurrent_scale[HK_GATES]; /* to Q3.12 */
    bool input_saturates[HK_GATES];       /* whether some input could carry the product out of Q3.12 */
    bool recurrent_saturates[HK_GATES];
    hk_scale_t forget_scale;              /* forget gate * cell, to the cell's scale */
    hk_scale_t update_scale;              /* input gate * cell gate, to the cell's scale */
    hk_scale_t hidden_scale;              /* tanh(cell) * output gate, to the hidden state's scale */
    int32_t hidden_zero_point;
    int32_t cell_clip; /* 32768 where the model does not clip */
    int32_t tanh_multiplier;
    int32_t tanh_shift;
} hk_lstm_t;

#if !HK_LSTM_VECTOR

/* value / 2^bits, halves away from zero, saturated to 16 bits where asked, where |value| stays under 2^30. */
HK_LSTM_INLINE int32_t hk_lstm_shift_to_16(int32_t value, int32_t bits, bool saturates)
{
    if (bits > 0) {
        value += (INT32_C(1) << (bits - 1)) + (value >> 31);
#if HK_HAS_SATURATION && defined(__OPTIMIZE__)
        if (saturates && __builtin_constant_p(bits)) { /* SSAT shifts too */
            __asm__("ssat %0, #16, %1, asr %2" : "=r"(value) : "r"(value), "i"(bits));
            return value;
        }
#endif
        value >>= bits;
    }
    return saturates ? hk_saturate_16(value) : value;
}

/* Half of `doubled`, times a scale, saturated to 16 bits where asked. firmware_gen has proved that doubled * 2^shift
 * fits 32 bits. */
HK_LSTM_INLINE int32_t hk_lstm_rescale(int32_t doubled, hk_scale_t scale, bool saturates)
{
    int32_t multiplier = scale.multiplier;
    HK_KEEP_IN_REGISTER(multiplier); /* else the compiler makes one multiplier out of another by three additions */
    const int32_t shifted = doubled * (INT32_C(1) << (scale.shift > 0 ? scale.shift : 0));
    int32_t high;
#if HK_HAS_DSP
    __asm__("smmulr %0, %1, %2" : "=r"(high) : "r"(shifted), "r"(multiplier));
#else
    const int64_t product = (int64_t)shifted * multiplier;
    high = (int32_t)(product >> 32) + (int32_t)((uint32_t)product >> 31); /* halves up */
#endif
    return hk_lstm_shift_to_16(high, scale.shift > 0 ? 0 : -scale.shift, saturates);
}

/* A product of two int16 values, of which one is not -32768, times a scale: most scales are powers of two. */
HK_LSTM_INLINE int32_t hk_lstm_rescale_product(int32_t product, hk_scale_t scale)
{
    if (scale.multiplier == 1 << 30 && scale.shift <= 0) {
        return hk_lstm_shift_to_16((product + 1) >> 1, -scale.shift, true);
    }
    return hk_lstm_rescale(2 * product, scale, true);
}

/* The two products of a gate meet in Q3.12, each saturated by itself, as TFLM adds them. */
HK_LSTM_INLINE int32_t hk_lstm_gate(const hk_lstm_t *lstm, int gate, const int32_t *by_input, const int32_t *by_hidden)
{
    return hk_saturate_16(
        hk_lstm_rescale(by_input[gate], lstm->input_scale[gate], lstm->input_saturates[gate])
        + hk_lstm_rescale(by_hidden[gate], lstm->recurrent_scale[gate], lstm->recurrent_saturates[gate]));
}

/* Saturates to 16 bits, then to the clip. */
HK_LSTM_INLINE int32_t hk_lstm_clip(int32_t cell, int32_t clip)
{
    if (clip < 32767) {
        return hk_clamp(cell, -clip, clip);
    }
    const int32_t saturated = hk_saturate_16(cell);
    return clip == 32767 && saturated < -32767 ? -32767 : saturated;
}

/* From the eight doubled sums of one unit to its new cell and hidden value. */
HK_LSTM_INLINE int8_t hk_lstm_unit(const hk_lstm_t *lstm, const hk_line_t *lines, const int32_t *by_input,
                                   const int32_t *by_hidden, int16_t *cell)
{
    const int32_t input = hk_sigmoid(lines, hk_lstm_gate(lstm, HK_GATE_INPUT, by_input, by_hidden));
    const int32_t forget = hk_sigmoid(lines, hk_lstm_gate(lstm, HK_GATE_FORGET, by_input, by_hidden));
    const int32_t candidate = hk_tanh(lines, hk_lstm_gate(lstm, HK_GATE_CELL, by_input, by_hidden), 3, 0);
    const int32_t output = hk_sigmoid(lines, hk_lstm_gate(lstm, HK_GATE_OUTPUT, by_input, by_hidden));
    const int32_t kept = hk_lstm_rescale_product(forget * *cell, lstm->forget_scale);
    const int32_t added = hk_lstm_rescale_product(input * candidate, lstm->update_scale);
    const int32_t updated = hk_lstm_clip(kept + added, lstm->cell_clip);
    *cell = (int16_t)updated;
    const int32_t squashed = hk_tanh(lines, updated, lstm->tanh_multiplier, lstm->tanh_shift);
    /* Saturating to 16 bits on the way to 8 changes nothing. */
    return (int8_t)hk_saturate_8(hk_lstm_rescale_product(squashed * output, lstm->hidden_scale) + lstm->hidden_zero_point);
}

#endif

#if HK_LSTM_VECTOR

/* Eight units at once, in vector registers from their sums to their new state.
 *
 * The four gates of eight units are 32 rows. Up to 64 columns of the input stay in q0 to q3 while the rows' weights run
 * past. A row need not be a multiple of 16 long: its last vector reads on into the next row, where the input is zero.
 * Of eight units those with even numbers come first, then those with odd: narrowing instructions write every other
 * lane, and so put them back in order. */
enum { HK_LSTM_UNITS_AT_ONCE = 8, HK_LSTM_ROWS = HK_LSTM_UNITS_AT_ONCE * HK_GATES };

#define HK_VECTOR_LOADS_1 "vldrb.u8 q0, [%[x]]\n\t"
#define HK_VECTOR_LOADS_2 HK_VECTOR_LOADS_1 "vldrb.u8 q1, [%[x], #16]\n\t"
#define HK_VECTOR_LOADS_3 HK_VECTOR_LOADS_2 "vldrb.u8 q2, [%[x], #32]\n\t"
#define HK_VECTOR_LOADS_4 HK_VECTOR_LOADS_3 "vldrb.u8 q3, [%[x], #48]\n\t"

#define HK_VECTOR_ADD(sum, x, w, step)                                                                                 \
    "vldrb.u8 " w ", [%[w]], #" step "\n\t"                                                                            \
    "vmladava.s8 " sum ", " w ", " x "\n\t"
#define HK_VECTOR_ROW_1(sum, tail) HK_VECTOR_ADD(sum, "q0", "q4", tail)
#define HK_VECTOR_ROW_2(sum, tail) HK_VECTOR_ADD(sum, "q0", "q4", "16") HK_VECTOR_ADD(sum, "q1", "q5", tail)
#define HK_VECTOR_ROW_3(sum, tail)                                                                                     \
    HK_VECTOR_ADD(sum, "q0", "q4", "16") HK_VECTOR_ADD(sum, "q1", "q5", "16") HK_VECTOR_ADD(sum, "q2", "q4", tail)
#define HK_VECTOR_ROW_4(sum, tail)                                                                                     \
    HK_VECTOR_ADD(sum, "q0", "q4", "16")                                                                               \
    HK_VECTOR_ADD(sum, "q1", "q5", "16") HK_VECTOR_ADD(sum, "q2", "q4", "16") HK_VECTOR_ADD(sum, "q3", "q5", tail)

/* Defines hk_lstm_rows_<columns>(): adds `columns` = 16 * (vectors - 1) + tail columns of the 32 rows to `start`, gives
 * `sums`, and returns the end of the weights it read. A macro, as steps of addresses are part of an instruction. */
#define HK_LSTM_DEFINE_ROWS(columns, vectors, tail)                                                                    \
    static __attribute__((noinline)) const int8_t *hk_lstm_rows_##columns(const int8_t *w, const int8_t *x,            \
                                                                          const int32_t *start, int32_t *sums)         \
    {                                                                                                                  \
        __asm__ volatile(HK_VECTOR_LOADS_##vectors "dls lr, %[fours]\n\t"                                              \
                                                   "1:\n\t"                                                            \
                                                   "ldrd r4, r6, [%[start]], #8\n\t"                                   \
                                                   "ldrd r8, r10, [%[start]], #8\n\t" HK_VECTOR_ROW_##vectors(         \
                                                       "r4", #tail) HK_VECTOR_ROW_##vectors("r6", #tail)               \
                                                       HK_VECTOR_ROW_##vectors("r8", #tail)                            \
                                                           HK_VECTOR_ROW_##vectors("r10", #tail)                       \
                         "strd r4, r6, [%[sums]], #8\n\t"                                                              \
                         "strd r8, r10, [%[sums]], #8\n\t"                                                             \
                         "le lr, 1b"                                                                                   \
                         : [w] "+r"(w), [start] "+r"(start), [sums] "+r"(sums)                                         \
                         : [x] "r"(x), [fours] "r"(HK_LSTM_ROWS / 4)                                                   \
                         : "r4", "r6", "r8", "r10", "lr", "q0", "q1", "q2", "q3", "q4", "q5", "cc", "memory");         \
        return w;                                                                                                      \
    }

/* Two times four values times a scale, saturated to 16 bits and merged: even lanes, odd lanes. */
HK_LSTM_INLINE int16x8_t hk_lstm_rescale_eight(int32x4_t even, int32x4_t odd, hk_scale_t scale)
{
    if (scale.shift > 0) {
        even = vshlq_r_s32(even, scale.shift);
        odd = vshlq_r_s32(odd, scale.shift);
    }
    even = vqrdmulhq_n_s32(even, scale.multiplier);
    odd = vqrdmulhq_n_s32(odd, scale.multiplier);
    if (scale.shift < 0) { /* VRSHL rounds halves up; one less, negative values' halves go away from zero */
        even = vrshlq_n_s32(vaddq_s32(even, vshrq_n_s32(even, 31)), scale.shift);
        odd = vrshlq_n_s32(vaddq_s32(odd, vshrq_n_s32(odd, 31)), scale.shift);
    }
    return vqmovntq_s32(vqmovnbq_s32(vreinterpretq_s16_s32(even), even), odd);
}

HK_LSTM_INLINE int16x8_t hk_lstm_rescale_products(int16x8_t a, int16x8_t b, hk_scale_t scale)
{
    return hk_lstm_rescale_eight(vmullbq_int_s16(a, b), vmulltq_int_s16(a, b), scale);
}

/* The two products of a gate meet in Q3.12, each saturated by itself, as TFLM adds them. */
HK_LSTM_INLINE int16x8_t hk_lstm_gates(const hk_lstm_t *lstm, int gate, const int32_t *sums)
{
    const int32_t *by_input = sums + HK_LSTM_UNITS_AT_ONCE * gate;
    const int32_t *by_hidden = by_input + HK_LSTM_ROWS;
    return vqaddq_s16(
        hk_lstm_rescale_eight(vldrwq_s32(by_input), vldrwq_s32(by_input + 4), lstm->input_scale[gate]),
        hk_lstm_rescale_eight(vldrwq_s32(by_hidden), vldrwq_s32(by_hidden + 4), lstm->recurrent_scale[gate]));
}

/* From the sums of eight units to their new cells and hidden values. */
HK_LSTM_INLINE void hk_lstm_eight_units(const hk_lstm_t *lstm, const int32_t *sums, int16_t *cell, int8_t *hidden)
{
    const hk_stretches_t *stretches = &hk_sigmoid_stretches;
    const int16x8_t forget = hk_sigmoid_eight(stretches, hk_lstm_gates(lstm, HK_GATE_FORGET, sums));
    const int16x8_t kept = hk_lstm_rescale_products(forget, vldrhq_s16(cell), lstm->forget_scale);
    const int16x8_t candidate = hk_tanh_eight(stretches, hk_lstm_gates(lstm, HK_GATE_CELL, sums), 3, 0);
    const int16x8_t input = hk_sigmoid_eight(stretches, hk_lstm_gates(lstm, HK_GATE_INPUT, sums));
    int16x8_t updated = vqaddq_s16(kept, hk_lstm_rescale_products(input, candidate, lstm->update_scale));
    if (lstm->cell_clip <= 32767) {
        updated = vmaxq_s16(updated, vdupq_n_s16((int16_t)-lstm->cell_clip));
    }
    if (lstm->cell_clip < 32767) {
        updated = vminq_s16(updated, vdupq_n_s16((int16_t)lstm->cell_clip));
    }
    vstrhq_s16(cell, updated);
    const int16x8_t output = hk_sigmoid_eight(stretches, hk_lstm_gates(lstm, HK_GATE_OUTPUT, sums));
    const int16x8_t squashed = hk_tanh_eight(stretches, updated, lstm->tanh_multiplier, lstm->tanh_shift);
    const int16x8_t scaled = vqaddq_n_s16(hk_lstm_rescale_products(squashed, output, lstm->hidden_scale),
                                          (int16_t)lstm->hidden_zero_point);
    vstrbq_s16(hidden, vreinterpretq_s16_s8(vqmovnbq_s16(vreinterpretq_s8_s16(scaled), scaled)));
}

/* Adds up the 32 rows of eight units: first by the input, then by the hidden state. firmware_gen writes one a layer. */
typedef const int8_t *hk_lstm_add_rows_t(const int8_t *w, const int8_t *in, const int8_t *hidden, const int32_t *bias,
                                         int32_t sums[2 * HK_LSTM_ROWS]);

/* Copies `count` bytes and puts zeros after them up to a multiple of 16; returns the end. */
HK_LSTM_INLINE int8_t *hk_lstm_pad(const int8_t *values, uint32_t count, int8_t *padded)
{
    const uint32_t size = (count + 15) / 16 * 16;
    for (uint32_t i = 0; i < size; i += 16) {
        vstrbq_s8(padded + i, vldrbq_z_s8(values + i, vctp8q(count - i)));
    }
    return padded + size;
}

HK_LSTM_INLINE void hk_lstm_step(const hk_lstm_t *lstm, hk_lstm_add_rows_t *add_rows, const int8_t *weights,
                                 const int32_t *bias, const int8_t *in, int8_t *hidden, int16_t *cell, void *scratch)
{
    int8_t *padded_input = scratch;
    int8_t *before = hk_lstm_pad(in, lstm->inputs, padded_input);
    hk_lstm_pad(hidden, lstm->units, before);
    for (uint32_t unit = 0; unit < lstm->units; unit += HK_LSTM_UNITS_AT_ONCE) {
        int32_t sums[2 * HK_LSTM_ROWS];
        weights = add_rows(weights, padded_input, before, bias, sums);
        bias += 2 * HK_LSTM_ROWS;
        hk_lstm_eight_units(lstm, sums, cell + unit, hidden + unit);
    }
}

#elif HK_LSTM_PACKED

/* Weights are packed for SMLAD: a halfword is 256 * a + b for the weights a and b of two rows, so that one SMLAD adds
 * 256 * a * x + b * x for two columns, and SXTB16 with another SMLAD the b * x alone. 4 multiply-accumulates take 3
 * instructions. A unit's words: four sums to start from (256 * A + B and B for the gates input and forget, then for
 * cell and output), then for every 4 columns: gates input/forget of columns 0 and 2, of 1 and 3, gates cell/output
 * of columns 0 and 2, of 1 and 3. */

#define HK_PACKED_COLUMNS(x_register, first, second)                                                                   \
    "smlad %[ab0], " first ", " x_register ", %[ab0]\n\t"                                                              \
    "sxtb16 " first ", " first "\n\t"                                                                                  \
    "smlad %[b0], " first ", " x_register ", %[b0]\n\t"                                                                \
    "smlad %[ab1], " second ", " x_register ", %[ab1]\n\t"                                                             \
    "sxtb16 " second ", " second "\n\t"                                                                                \
    "smlad %[b1], " second ", " x_register ", %[b1]\n\t"

#define HK_PACKED_GROUP                                                                                                \
    "ldrd %[x0], %[x1], [%[x]], #8\n\t"                                                                                \
    "ldm %[w]!, {r4, r5, r6, r8}\n\t" HK_PACKED_COLUMNS("%[x0]", "r4", "r6") HK_PACKED_COLUMNS("%[x1]", "r5", "r8")

/* Adds up `groups` groups of 4 columns for the four rows of a unit, doubled; returns the end of the weights it read. */
HK_LSTM_INLINE const uint32_t *hk_lstm_dot(const uint32_t *w, const uint32_t *x, uint32_t groups, int32_t sums[HK_GATES])
{
    int32_t ab0 = (int32_t)w[0];
    int32_t b0 = (int32_t)w[1];
    int32_t ab1 = (int32_t)w[2];
    int32_t b1 = (int32_t)w[3];
    w += 4;
    const uint32_t *end = x + 2 * (groups - groups % 4);
    uint32_t x0;
    uint32_t x1;
    if (groups >= 4) {
        __asm__ volatile("1:\n\t" HK_PACKED_GROUP HK_PACKED_GROUP HK_PACKED_GROUP HK_PACKED_GROUP
                         "cmp %[x], %[end]\n\t"
                         "bne 1b"
                         : [ab0] "+r"(ab0), [b0] "+r"(b0), [ab1] "+r"(ab1), [b1] "+r"(b1), [w] "+r"(w), [x] "+r"(x),
                           [x0] "=&r"(x0), [x1] "=&r"(x1)
                         : [end] "r"(end)
                         : "r4", "r5", "r6", "r8", "cc", "memory");
    }
    for (uint32_t i = 0; i < groups % 4; i++) {
        __asm__ volatile(HK_PACKED_GROUP
                         : [ab0] "+r"(ab0), [b0] "+r"(b0), [ab1] "+r"(ab1), [b1] "+r"(b1), [w] "+r"(w), [x] "+r"(x),
                           [x0] "=&r"(x0), [x1] "=&r"(x1)
                         :
                         : "r4", "r5", "r6", "r8", "memory");
    }
    /* The differences are 256 * A modulo 2^32; firmware_gen has proved that A fits 24 bits. */
    sums[HK_GATE_INPUT] = (int32_t)((uint32_t)ab0 - (uint32_t)b0) >> 7;
    sums[HK_GATE_FORGET] = 2 * b0;
    sums[HK_GATE_CELL] = (int32_t)((uint32_t)ab1 - (uint32_t)b1) >> 7;
    sums[HK_GATE_OUTPUT] = 2 * b1;
    return w;
}

/* Widens int8 to pairs of int16 in the order of the weights: columns 0 and 2, then 1 and 3, of every 4. */
HK_LSTM_INLINE void hk_lstm_widen(const int8_t *values, uint32_t count, uint32_t *pairs)
{
    const uint32_t whole = count / 4;
    for (uint32_t i = 0; i < whole; i++) {
        uint32_t word;
        memcpy(&word, values + 4 * i, sizeof word);
        __asm__("sxtb16 %0, %1" : "=r"(pairs[2 * i]) : "r"(word));
        __asm__("sxtb16 %0, %1, ror #8" : "=r"(pairs[2 * i + 1]) : "r"(word));
    }
    if (count % 4 != 0) {
        uint32_t word = 0;
        memcpy(&word, values + 4 * whole, count % 4);
        __asm__("sxtb16 %0, %1" : "=r"(pairs[2 * whole]) : "r"(word));
        __asm__("sxtb16 %0, %1, ror #8" : "=r"(pairs[2 * whole + 1]) : "r"(word));
    }
}

HK_LSTM_INLINE void hk_lstm_step(const hk_lstm_t *lstm, const uint32_t *weights, const int8_t *in, int8_t *hidden,
                                 int16_t *cell, void *scratch)
{
    const uint32_t input_groups = (lstm->inputs + 3) / 4;
    const uint32_t hidden_groups = (lstm->units + 3) / 4;
    uint32_t *wide_input = scratch;
    uint32_t *wide_hidden = wide_input + 2 * input_groups;
    hk_lstm_widen(in, lstm->inputs, wide_input);
    hk_lstm_widen(hidden, lstm->units, wide_hidden);
    const hk_line_t *lines = hk_sigmoid_lines;
    HK_KEEP_IN_REGISTER(lines);
    for (uint32_t unit = 0; unit < lstm->units; unit++) {
        int32_t by_input[HK_GATES];
        int32_t by_hidden[HK_GATES];
        weights = hk_lstm_dot(weights, wide_input, input_groups, by_input);
        weights = hk_lstm_dot(weights, wide_hidden, hidden_groups, by_hidden);
        hidden[unit] = hk_lstm_unit(lstm, lines, by_input, by_hidden, &cell[unit]);
    }
}

#else

/* Weights of two units lie side by side for every column, eight streams in one: one value of the input serves eight
 * rows. Where the number of units is odd, the last one's neighbour has weights of zero. */
enum { HK_LSTM_UNITS_AT_ONCE = 2, HK_LSTM_ROWS = HK_LSTM_UNITS_AT_ONCE * HK_GATES, HK_LSTM_COLUMNS_AT_ONCE = 8 };

/* Keeps the compiler from loading so far ahead that it must spill the sums. */
#define HK_LSTM_NO_LOADS_AHEAD() __asm__ volatile("" ::: "memory")

/* Where there is MLA the sum stays in its register; the compiler would move it to another and back. */
HK_LSTM_INLINE int32_t hk_lstm_multiply_add(int32_t sum, int32_t a, int32_t b)
{
#if defined(__thumb2__)
    __asm__("mla %0, %1, %2, %0" : "+r"(sum) : "r"(a), "r"(b));
    return sum;
#else
    return sum + a * b;
#endif
}

#define HK_LSTM_TWO_ROWS(k, row, first, second)                                                                        \
    first = hk_lstm_multiply_add(first, w[HK_LSTM_ROWS * (k) + (row)], value);                                         \
    second = hk_lstm_multiply_add(second, w[HK_LSTM_ROWS * (k) + (row) + 1], value);                                   \
    HK_LSTM_NO_LOADS_AHEAD()

#define HK_LSTM_COLUMN(k)                                                                                              \
    do {                                                                                                               \
        const int32_t value = x[k];                                                                                    \
        HK_LSTM_TWO_ROWS(k, 0, sum0, sum1);                                                                            \
        HK_LSTM_TWO_ROWS(k, 2, sum2, sum3);                                                                            \
        HK_LSTM_TWO_ROWS(k, 4, sum4, sum5);                                                                            \
        HK_LSTM_TWO_ROWS(k, 6, sum6, sum7);                                                                            \
    } while (0)

/* Adds up all columns of eight rows, doubled; returns the end of the weights it read. */
static __attribute__((noinline)) const int8_t *hk_lstm_dot(const int8_t *w, const int8_t *x, uint32_t columns,
                                                           const int32_t start[HK_LSTM_ROWS],
                                                           int32_t doubled[HK_LSTM_ROWS])
{
    int32_t sum0 = start[0], sum1 = start[1], sum2 = start[2], sum3 = start[3];
    int32_t sum4 = start[4], sum5 = start[5], sum6 = start[6], sum7 = start[7];
    const int8_t *const end = x + columns;
    const int8_t *const end_of_groups = end - columns % HK_LSTM_COLUMNS_AT_ONCE;
    while (x != end_of_groups) {
        HK_LSTM_COLUMN(0);
        HK_LSTM_COLUMN(1);
        HK_LSTM_COLUMN(2);
        HK_LSTM_COLUMN(3);
        HK_LSTM_COLUMN(4);
        HK_LSTM_COLUMN(5);
        HK_LSTM_COLUMN(6);
        HK_LSTM_COLUMN(7);
        x += HK_LSTM_COLUMNS_AT_ONCE;
        w += HK_LSTM_COLUMNS_AT_ONCE * HK_LSTM_ROWS;
    }
    while (x != end) {
        HK_LSTM_COLUMN(0);
        x += 1;
        w += HK_LSTM_ROWS;
    }
    doubled[0] = 2 * sum0;
    doubled[1] = 2 * sum1;
    doubled[2] = 2 * sum2;
    doubled[3] = 2 * sum3;
    doubled[4] = 2 * sum4;
    doubled[5] = 2 * sum5;
    doubled[6] = 2 * sum6;
    doubled[7] = 2 * sum7;
    return w;
}

HK_LSTM_INLINE void hk_lstm_step(const hk_lstm_t *lstm, const int8_t *weights, const int32_t *bias, const int8_t *in,
                                 int8_t *hidden, int16_t *cell, void *scratch)
{
    int8_t *before = scratch; /* every unit reads the whole hidden state of the step before */
    memcpy(before, hidden, lstm->units);
    const hk_line_t *lines = hk_sigmoid_lines;
    HK_KEEP_IN_REGISTER(lines);
    for (uint32_t first = 0; first < lstm->units; first += HK_LSTM_UNITS_AT_ONCE) {
        int32_t by_input[HK_LSTM_ROWS];
        int32_t by_hidden[HK_LSTM_ROWS];
        weights = hk_lstm_dot(weights, in, lstm->inputs, bias, by_input);
        bias += HK_LSTM_ROWS;
        weights = hk_lstm_dot(weights, before, lstm->units, bias, by_hidden);
        bias += HK_LSTM_ROWS;
        for (uint32_t i = 0; i < HK_LSTM_UNITS_AT_ONCE && first + i < lstm->units; i++) {
            *hidden++ = hk_lstm_unit(lstm, lines, by_input + HK_GATES * i, by_hidden + HK_GATES * i, cell++);
        }
    }
}

#endif
