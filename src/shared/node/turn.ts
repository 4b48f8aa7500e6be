/** Runs `then` once this turn of the event loop and all promises it settled are through, before anything is read or written. */
export const afterThisTurn: (then: () => void) => void = globalThis.process?.nextTick ?? queueMicrotask
