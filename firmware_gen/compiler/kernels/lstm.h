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
    hk_scale_t forget_scale;              /* forget gate * cell, to the cell's scale */
    hk_scale_t update_scale;              /* input gate * cell gate, to the cell's scale */
    hk_scale_t hidden_scale;              /* tanh(cell) * output gate, to the hidden state's scale */
    int32_t hidden_zero_point;
    int32_t cell_clip; /* 32768 where the model does not clip */
    int32_t tanh_multiplier;
    int32_t tanh_shift;
} hk_lstm_t;

#define HK_LSTM_INLINE static inline __attribute__((always_inline))

/* Stops the compiler from addressing a table through another object's address, which costs an addition a look-up. */
#define HK_KEEP_IN_REGISTER(pointer) __asm__("" : "+r"(pointer))

/* HK_LSTM_PORTABLE is set by firmware_gen for a model whose weights or sums do not fit the packed form. */
#define HK_LSTM_PACKED (HK_HAS_DSP && !HK_LSTM_PORTABLE)

#if HK_LSTM_PACKED && defined(__OPTIMIZE__)

/* value / 2^bits, halves away from zero, saturated to 16 bits, where `bits` is known when compiling: SSAT shifts too. */
HK_LSTM_INLINE int32_t hk_lstm_shift_to_16(int32_t value, int32_t bits)
{
    if (__builtin_constant_p(bits) && bits > 0) {
        value += (INT32_C(1) << (bits - 1)) + (value >> 31);
        __asm__("ssat %0, #16, %1, asr %2" : "=r"(value) : "r"(value), "i"(bits));
        return value;
    }
    return hk_saturate_16(hk_shift_right_round(value, bits));
}

/* Half of `doubled`, times a scale, saturated to 16 bits. firmware_gen has proved that doubled * 2^shift fits 32 bits. */
HK_LSTM_INLINE int32_t hk_lstm_rescale(int32_t doubled, hk_scale_t scale)
{
    int32_t multiplier = scale.multiplier;
    int32_t high;
    HK_KEEP_IN_REGISTER(multiplier); /* else the compiler makes one multiplier out of another by three additions */
    __asm__("smmulr %0, %1, %2" : "=r"(high) : "r"(doubled * (INT32_C(1) << (scale.shift > 0 ? scale.shift : 0))), "r"(multiplier));
    return hk_lstm_shift_to_16(high, scale.shift > 0 ? 0 : -scale.shift);
}

#else

HK_LSTM_INLINE int32_t hk_lstm_rescale(int32_t doubled, hk_scale_t scale)
{
    return hk_saturate_16(hk_requantize(doubled >> 1, scale));
}

#endif

/* The two products of a gate meet in Q3.12, each saturated by itself, as TFLM adds them. */
HK_LSTM_INLINE int32_t hk_lstm_gate(int32_t by_input, hk_scale_t input_scale, int32_t by_hidden, hk_scale_t hidden_scale)
{
    return hk_saturate_16(hk_lstm_rescale(by_input, input_scale) + hk_lstm_rescale(by_hidden, hidden_scale));
}

/* From the eight doubled sums of one unit to its new cell and hidden value. */
HK_LSTM_INLINE int8_t hk_lstm_unit(const hk_lstm_t *lstm, const hk_line_t *lines, const int32_t *by_input,
                                   const int32_t *by_hidden, int16_t *cell)
{
#define HK_GATE(g) hk_lstm_gate(by_input[g], lstm->input_scale[g], by_hidden[g], lstm->recurrent_scale[g])
    const int32_t input = hk_sigmoid(lines, HK_GATE(HK_GATE_INPUT));
    const int32_t forget = hk_sigmoid(lines, HK_GATE(HK_GATE_FORGET));
    const int32_t candidate = hk_tanh(lines, HK_GATE(HK_GATE_CELL), 3, 0);
    const int32_t output = hk_sigmoid(lines, HK_GATE(HK_GATE_OUTPUT));
#undef HK_GATE
    /* Products of two int16 values of which one is not -32768: they can be doubled. */
    const int32_t kept = hk_lstm_rescale(forget * *cell * 2, lstm->forget_scale);
    const int32_t added = hk_lstm_rescale(input * candidate * 2, lstm->update_scale);
    int32_t updated = hk_saturate_16(kept + added);
    if (lstm->cell_clip <= 32767) {
        updated = hk_clamp(updated, -lstm->cell_clip, lstm->cell_clip);
    }
    *cell = (int16_t)updated;
    const int32_t squashed = hk_tanh(lines, updated, lstm->tanh_multiplier, lstm->tanh_shift);
    /* Saturating to 16 bits on the way to 8 changes nothing. */
    return (int8_t)hk_saturate_8(hk_lstm_rescale(squashed * output * 2, lstm->hidden_scale) + lstm->hidden_zero_point);
}

#if HK_LSTM_PACKED

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

/* Weights of the four gates lie side by side for every column: four streams in one. */
HK_LSTM_INLINE const int8_t *hk_lstm_dot(const int8_t *w, const int8_t *x, uint32_t columns, int32_t sums[HK_GATES])
{
    int32_t input = sums[HK_GATE_INPUT];
    int32_t forget = sums[HK_GATE_FORGET];
    int32_t candidate = sums[HK_GATE_CELL];
    int32_t output = sums[HK_GATE_OUTPUT];
    for (uint32_t k = 0; k < columns; k++) {
        const int32_t value = x[k];
        input += w[0] * value;
        forget += w[1] * value;
        candidate += w[2] * value;
        output += w[3] * value;
        w += HK_GATES;
    }
    sums[HK_GATE_INPUT] = 2 * input;
    sums[HK_GATE_FORGET] = 2 * forget;
    sums[HK_GATE_CELL] = 2 * candidate;
    sums[HK_GATE_OUTPUT] = 2 * output;
    return w;
}

HK_LSTM_INLINE void hk_lstm_step(const hk_lstm_t *lstm, const int8_t *weights, const int32_t *bias, const int8_t *in,
                                 int8_t *hidden, int16_t *cell, void *scratch)
{
    int8_t *before = scratch; /* every unit reads the whole hidden state of the step before */
    memcpy(before, hidden, lstm->units);
    const hk_line_t *lines = hk_sigmoid_lines;
    HK_KEEP_IN_REGISTER(lines);
    for (uint32_t unit = 0; unit < lstm->units; unit++) {
        int32_t by_input[HK_GATES];
        int32_t by_hidden[HK_GATES];
        memcpy(by_input, bias, sizeof by_input);
        memcpy(by_hidden, bias + HK_GATES, sizeof by_hidden);
        bias += 2 * HK_GATES;
        weights = hk_lstm_dot(weights, in, lstm->inputs, by_input);
        weights = hk_lstm_dot(weights, before, lstm->units, by_hidden);
        hidden[unit] = hk_lstm_unit(lstm, lines, by_input, by_hidden, &cell[unit]);
    }
}

#endif
