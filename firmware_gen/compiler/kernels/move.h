/* Runs of neighbours that move from one layout to another; the last loop is the innermost. */
typedef struct {
    int32_t count[4];
    int32_t source_stride[4];
    int32_t target_stride[4];
    uint32_t run_bytes;
} hk_move_t;

static inline void hk_move(const hk_move_t *move, const int8_t *source, int8_t *target)
{
    for (int32_t i = 0; i < move->count[0]; i++) {
        for (int32_t j = 0; j < move->count[1]; j++) {
            for (int32_t k = 0; k < move->count[2]; k++) {
                for (int32_t l = 0; l < move->count[3]; l++) {
                    const int32_t from = i * move->source_stride[0] + j * move->source_stride[1] +
                                         k * move->source_stride[2] + l * move->source_stride[3];
                    const int32_t to = i * move->target_stride[0] + j * move->target_stride[1] +
                                       k * move->target_stride[2] + l * move->target_stride[3];
                    memcpy(target + to, source + from, move->run_bytes);
                }
            }
        }
    }
}
