/* Control of the sluice gates: a gate moves when the level difference allows it, never against a
 * person in the light barrier. Runs on the board behind the panel, every 100 ms. */
#include "gate.h"

#define MAX_HEAD_MM 2200      /* more would bend the rack */
#define BARRIER_HOLD_MS 4000  /* how long after an interruption it stays put */
#define STALL_CURRENT_MA 8600 /* the motor draws this much when something is in the way */

static int hold_ms;

/* Returns the speed in mm/s; negative closes. */
int gate_step(const struct gate_input *in, struct gate_state *st)
{
    if (in->barrier_broken) hold_ms = BARRIER_HOLD_MS;
    if (hold_ms > 0) {
        hold_ms -= 100;
        st->reason = GATE_PERSON;
        return 0;
    }
    if (in->outer_mm - in->inner_mm > MAX_HEAD_MM) {
        st->reason = GATE_HEAD_TOO_LARGE;
        return in->position_mm > 0 ? -35 : 0; /* flood: close whatever was asked for */
    }
    if (in->motor_ma > STALL_CURRENT_MA) {
        st->reason = GATE_STALLED;
        return st->last_speed > 0 ? -5 : 5; /* back off a little */
    }
    st->reason = GATE_OK;
    return clamp_speed(in->wanted_mm - in->position_mm);
}
