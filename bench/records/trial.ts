import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Contestant } from './contestants.ts'
import type { Spent } from './measure.ts'
import type { Network } from './network.ts'
import type { Stack } from './stacks/stack.ts'

export type Operation = 'put' | 'get'
export const OPERATIONS: readonly Operation[] = ['put', 'get']

/** What one contestant took for its operations in one round. */
export type Trial = Readonly<Record<Operation, Result>>

export interface Result extends Spent {
  /** User and system time of all processes but the measured one. */
  readonly othersCpuMs: number
}

/** What a network has to catch up with after a while of standing still is not the first operation's fault. */
const REST_MS = 500
/** Longest time for all operations of one kind. */
const PHASE_MS = 300_000
/** Values that another node reads back after the puts: all is well, or nothing counts. */
const READ_BACK = 2
/** Bytes of a value. */
const VALUE_BYTES = { from: 8, to: 100 }

export interface TrialOptions {
  /** Puts, and gets. */
  readonly operations: number
  /** A folder for CPU profiles of the measured process, and of one that holds records. */
  readonly profiles?: string | undefined
}

/** The measured node puts; then it gets what a node of another process has put. */
export async function runTrial(
  network: Network,
  { name, kind }: Contestant,
  { operations, profiles }: TrialOptions
): Promise<Trial> {
  const { hosts, measured } = network
  const other = hosts.at(-1) as Stack
  const counted = async <T extends Spent>(operation: Operation, doing: () => Promise<T>): Promise<T & Result> => {
    const profiled: readonly (readonly [string, Stack])[] = [
      ['', measured],
      ['-holders', other]
    ]
    if (profiles !== undefined) for (const [, stack] of profiled) await stack.startProfile()
    const before = await cpuOf(hosts)
    const spent = await inTime(doing())
    const othersCpuMs = (await cpuOf(hosts)) - before
    if (profiles !== undefined) {
      for (const [part, stack] of profiled)
        await stack.writeProfile(`${profiles}/${name}-${operation}${part}.cpuprofile`)
    }
    return { ...spent, othersCpuMs }
  }
  network.thaw()
  try {
    await delay(REST_MS)
    const { entries: written, ...put } = await counted('put', () => measured.put(kind, values(operations)))
    const readBack = await inTime(other.get(kind, written.slice(-READ_BACK)))
    if (readBack.failed > 0) throw new Error(`${name}: another node does not read what was put: ${readBack.failure}`)
    const { entries } = await inTime(other.put(kind, values(operations)))
    const get = await counted('get', () => measured.get(kind, entries))
    return { put, get }
  } finally {
    network.freeze()
  }
}

function values(count: number): Uint8Array[] {
  const { from, to } = VALUE_BYTES
  return Array.from({ length: count }, (_, i) => randomBytes(from + Math.round((i / count) * (to - from))))
}

async function cpuOf(stacks: readonly Stack[]): Promise<number> {
  return (await Promise.all(stacks.map(stack => stack.cpuMs()))).reduce((sum, each) => sum + each, 0)
}

async function inTime<T>(doing: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => late.reject(new Error(`not done within ${PHASE_MS / 1000} s`)), PHASE_MS)
  try {
    return await Promise.race([doing, late.promise])
  } finally {
    clearTimeout(timer)
  }
}
