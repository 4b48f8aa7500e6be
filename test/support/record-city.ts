import { sample, seededRandom } from '../../src/shared/core/random.ts'
import { unseal } from '../../src/shared/node/keys.ts'
import type { Libp2pNode } from '../../src/shared/node/libp2p.server.ts'
import { closestTo } from '../../src/shared/node/position.ts'
import { placeOf, type RecordKey } from '../../src/shared/records/key.ts'
import { REPLICAS } from '../../src/shared/records/limits.ts'
import { openRecords, type Records } from '../../src/shared/records/records.ts'
import { memoryStore } from '../../src/shared/store/memory.ts'
import type { Store } from '../../src/shared/store/port.ts'
import { eventually } from './eventually.ts'
import { ourNode, Scope, placeOf as whereIs } from './plain.ts'
import { conspiracy, type Hostility, serveHostile } from './record-hostiles.ts'
import { heldIn } from './record-town.ts'
import { json, open, read } from './record-world.ts'

/** Reads and writes that run at once. */
const PARALLEL = 6

interface Citizen {
  readonly node: Libp2pNode
  readonly records: Records
  readonly store: Store
}

export interface CityOptions {
  readonly seed: number
  readonly honest: number
  readonly hostile?: readonly Hostility[]
  /** Earlier nodes that each dials, at random. */
  readonly links: number
}

/** Many real nodes with records in this process, over TCP on loopback, some of them hostile. */
export class City extends Scope {
  readonly honest: Citizen[] = []
  readonly #nodes: Libp2pNode[] = []
  readonly #draw: () => number

  private constructor(seed: number) {
    super()
    this.#draw = seededRandom(seed)
  }

  static async found(options: CityOptions): Promise<City> {
    const city = new City(options.seed)
    try {
      await city.#build(options)
      return city
    } catch (thrown) {
      await city.close()
      throw thrown
    }
  }

  async #build({ honest, hostile = [], links }: CityOptions): Promise<void> {
    const first = conspiracy()
    const kinds = sample<Hostility | undefined>(
      [...Array.from({ length: honest }, () => undefined), ...hostile],
      honest + hostile.length,
      this.#draw
    )
    for (const kind of kinds) {
      const node = await ourNode(this, { mayBeAlone: true })
      const others = sample(this.#nodes, links, this.#draw)
      this.#nodes.push(node)
      if (kind === undefined) {
        const store = memoryStore()
        const records = this.own(await openRecords({ node, table: await store.openTable('records'), unseal }))
        this.honest.push({ node, records, store })
      } else this.defer(serveHostile(node, kind, { first, random: this.#draw }).stop)
      await Promise.all(others.map(other => node.connect(whereIs(other))))
    }
    await eventually('everybody knows some', () => this.#nodes.every(({ dht }) => dht.size >= links / 2), {
      withinMs: 60_000
    })
  }

  /** Puts so many keys, each twice, by honest writers at random; resolves with what counts. */
  async fill(count: number): Promise<Map<RecordKey, string>> {
    const newest = new Map(Array.from({ length: count }, (_, at) => [open(`key ${at}`), `value ${at}, version 2`]))
    await this.#each(newest.keys(), async key => {
      for (const version of [1, 2]) {
        await this.#anyone().records.put(key, json(newest.get(key)?.replace('version 2', `version ${version}`)))
      }
    })
    return newest
  }

  /** Reads every key at an honest node at random; what went wrong, one line for each. */
  async misses(newest: ReadonlyMap<RecordKey, string>): Promise<string[]> {
    const wrong: string[] = []
    await this.#each(newest, async ([key, value]) => {
      const said = await this.#anyone()
        .records.get(key)
        .then(read, (thrown: Error) => thrown.message)
      if (said !== value) wrong.push(`${JSON.stringify(key)}: ${JSON.stringify(said)}`)
    })
    return wrong
  }

  /** Of the honest nodes among the closest to the keys, how many hold the newest: 0 to 1. */
  async recall(newest: ReadonlyMap<RecordKey, string>): Promise<number> {
    let [due, there] = [0, 0]
    for (const [key, value] of newest) {
      const place = placeOf(key)
      const closest = closestTo(place, this.#living(), REPLICAS, ({ peerId }) => peerId)
      for (const { store } of this.honest.filter(({ node }) => closest.includes(node))) {
        due++
        if ((await heldIn(store, place)) === value) there++
      }
    }
    return there / due
  }

  /** Ends so many honest ones at once. */
  async strike(count: number): Promise<void> {
    await Promise.all(sample(this.honest, count, this.#draw).map(({ node }) => node.close()))
  }

  /** Everybody says what is held again. */
  async republish(): Promise<void> {
    await this.#each(
      this.honest.filter(({ node }) => !node.signal.aborted),
      async ({ records }) => await records.republish()
    )
  }

  #living(): Libp2pNode[] {
    return this.#nodes.filter(({ signal }) => !signal.aborted)
  }

  #anyone(): Citizen {
    const living = this.honest.filter(({ node }) => !node.signal.aborted)
    return sample(living, 1, this.#draw)[0] as Citizen
  }

  async #each<T>(items: Iterable<T>, run: (item: T) => Promise<void>): Promise<void> {
    const rest = [...items].values()
    const worker = async (): Promise<void> => {
      for (const item of rest) await run(item)
    }
    await Promise.all(Array.from({ length: PARALLEL }, worker))
  }
}
