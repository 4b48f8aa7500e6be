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
  /** A folder for CPU profiles of the measured process. */
  readonly profiles?: string | undefined
}

/** The measured node puts; then it gets what a node of another process has put. */
export async function runTrial(
  network: Network,
  { name, kind }: Contestant,
  { operations, profiles }: TrialOptions
): Promise<Trial> {
  const { hosts, measured } = network
  const profileOf = (operation: Operation) =>
    profiles === undefined ? [] : [`${profiles}/${name}-${operation}.cpuprofile`]
  const counted = async <T extends Spent>(doing: () => Promise<T>): Promise<T & Result> => {
    const before = await cpuOf(hosts)
    const spent = await inTime(doing())
    return { ...spent, othersCpuMs: (await cpuOf(hosts)) - before }
  }
  network.thaw()
  try {
    await delay(REST_MS)
    const other = hosts.at(-1) as Stack
    const { entries: written, ...put } = await counted(() =>
      measured.put(kind, values(operations), ...profileOf('put'))
    )
    const readBack = await inTime(other.get(kind, written.slice(-READ_BACK)))
    if (readBack.failed > 0) throw new Error(`${name}: another node does not read what was put: ${readBack.failure}`)
    const { entries } = await inTime(other.put(kind, values(operations)))
    const get = await counted(() => measured.get(kind, entries, ...profileOf('get')))
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
