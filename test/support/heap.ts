import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void

/** Bytes that are still reachable, buffers included: collected more than once, with turns in between for what waits. */
export async function heldBytes(): Promise<number> {
  for (let round = 0; round < 4; round++) {
    gc()
    await new Promise(resolve => setTimeout(resolve, 5))
  }
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}
