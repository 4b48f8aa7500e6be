import { randomBytes } from 'node:crypto'
import type { PeerAddress } from '../../src/shared/core/address.ts'
import { closestTo } from '../../src/shared/node/position.ts'
import { placeOf } from '../../src/shared/records/key.ts'
import type { Place } from '../common/link.ts'
import { openNetwork, type Tables } from './network.ts'
import type { MusterStack } from './stacks/muster.ts'
import type { Entry } from './stacks/stack.ts'

/** Kademlia's k. */
const REPLICAS = 20

/** Whether records lie where they belong. */
export interface Recall {
  readonly nodes: number
  readonly keys: number
  /** Of the truly closest nodes, the part that holds a key after its put: over all keys, and of the worst one. */
  readonly mean: number
  readonly min: number
  /** Nodes that hold a key, over all keys: more than 20 where others were taken for close. */
  readonly holders: number
  readonly tables: Tables
}

/** Puts keys from nodes of all processes, and asks every node right afterwards what it holds. */
export async function measureRecall(
  nodes: number,
  keys: number,
  places: readonly Place[],
  home: Place
): Promise<Recall> {
  await using network = await openNetwork<MusterStack>('muster', nodes, places, home)
  const { hosts, measured, tables } = network
  const all = [...hosts, measured]
  const members = await Promise.all(all.map(stack => stack.members()))
  /** The measured node asks everybody else; a node of another process asks it. */
  const holdersOf = async (asked: readonly Uint8Array[]): Promise<{ member: PeerAddress; holds: boolean[] }[]> => {
    const own = members.at(-1) ?? []
    const others = members.slice(0, -1).flat()
    const answers = await Promise.all([measured.holds(others, asked), (hosts.at(-1) as MusterStack).holds(own, asked)])
    const flat = answers.flat()
    return [...others, ...own].map((member, i) => ({ member, holds: flat[i] ?? [] }))
  }
  // Connected to everybody first: whoever meets a node hands over what it should hold, a second or more later.
  await holdersOf([randomBytes(32)])
  const value = randomBytes(32)
  const entries: Entry[] = []
  for (let i = 0; i < keys; i++) {
    const { entries: put, failure } = await (all[i % all.length] as MusterStack).put('open', [value])
    if (failure !== undefined) throw new Error(failure)
    entries.push(...put)
  }
  const wanted = entries.map(({ key }) => placeOf({ kind: 'open', name: key as string }))
  const holders = await holdersOf(wanted)
  const counts = wanted.map((place, key) => {
    const holding = new Set(holders.filter(({ holds }) => holds[key] === true).map(({ member }) => member.peerId))
    const closest = closestTo(place, members.flat(), REPLICAS, ({ peerId }) => peerId)
    return { part: closest.filter(({ peerId }) => holding.has(peerId)).length / closest.length, all: holding.size }
  })
  const mean = (read: (count: (typeof counts)[number]) => number): number =>
    counts.reduce((sum, each) => sum + read(each), 0) / counts.length
  return {
    nodes,
    keys,
    mean: mean(({ part }) => part),
    min: Math.min(...counts.map(({ part }) => part)),
    holders: mean(each => each.all),
    tables
  }
}
