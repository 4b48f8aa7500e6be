import { setTimeout as delay } from 'node:timers/promises'

const POLL_MS = 15

// biome-ignore lint/suspicious/noConfusingVoidType: a function of assertions returns nothing
type Fact = boolean | void

/**
 * Waits until `holds` returns true, or returns nothing without throwing (its assertions passed).
 * The failure names the sentence that stayed untrue and the last thing that was thrown.
 */
export async function eventually(
  sentence: string,
  holds: () => Fact | Promise<Fact>,
  { withinMs = 20_000 }: { withinMs?: number } = {}
): Promise<void> {
  const end = Date.now() + withinMs
  let last: unknown
  do {
    try {
      if ((await within(end - Date.now(), holds)) !== false) return
      last = undefined
    } catch (thrown) {
      last = thrown
    }
    await delay(POLL_MS)
  } while (Date.now() < end)
  const detail = last === undefined ? '' : `: ${last instanceof Error ? last.message : String(last)}`
  throw new Error(`not within ${withinMs} ms: ${sentence}${detail}`, { cause: last })
}

async function within(ms: number, holds: () => Fact | Promise<Fact>): Promise<Fact> {
  const answered = new AbortController()
  const tooLate = delay(ms, undefined, { signal: answered.signal }).then(() => {
    throw new Error('the question itself was not answered')
  })
  try {
    return await Promise.race([holds(), tooLate])
  } finally {
    answered.abort()
    tooLate.catch(() => undefined)
  }
}
