/** Runs `then` once this turn of the event loop and all promises it settled are through, before anything is read or written. */
export const afterThisTurn: (then: () => void) => void = globalThis.process?.nextTick ?? queueMicrotask

/** Resolves after what had come by then was read. */
export const nextTurn = (): Promise<void> =>
  new Promise(resolve => {
    if (typeof globalThis.setImmediate === 'function') setImmediate(resolve)
    else setTimeout(resolve)
  })
