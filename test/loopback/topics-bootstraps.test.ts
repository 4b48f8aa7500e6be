import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Bootstrap, createBootstrap, createPeer, isMusterError, type Peer } from '../../src/index.ts'
import { eventually } from '../support/eventually.ts'
import { allMeet, allTalk, freePort, seen, sit, temporaryFolder } from '../support/topics.ts'

const QUIET = { listen: '127.0.0.1:0', http: 'off' } as const

async function bootstrapAt(port: number, data: string): Promise<Bootstrap> {
  return await createBootstrap({ ...QUIET, listen: `127.0.0.1:${port}`, data, bootstrap: [] })
}

/** The codes of the problems a peer tells of from now on. */
function problemsOf(peer: Peer): string[] {
  const codes: string[] = []
  peer.on('problem', ({ code }) => codes.push(code))
  return codes
}

describe('a bootstrap', () => {
  it('that dies after its peers met is not missed: they talk, and notice who comes through a member', async () => {
    const bootstrap = await createBootstrap({ ...QUIET, memory: true, bootstrap: [] })
    const known = bootstrap.addresses.slice(0, 1)
    await using ana = await createPeer({ ...QUIET, memory: true, bootstrap: known })
    await using bob = await createPeer({ ...QUIET, memory: true, bootstrap: known })
    const seats = [await sit(ana), await sit(bob)]
    await allMeet(seats)
    await bootstrap.close()
    await eventually('both noticed', () => [ana, bob].every(({ node }) => !node.isConnected(bootstrap.peerId)))
    await allTalk(seats)
    await using cy = await createPeer({ ...QUIET, memory: true, bootstrap: bob.addresses.slice(0, 1) })
    seats.push(await sit(cy))
    await allMeet(seats)
    await allTalk(seats)
    for (const seat of seats) assert.ok(seat.told.every(({ event }) => event === 'member'))
  })

  it('that knows no other finds the members of another through a peer of both', async () => {
    await using first = await createBootstrap({ ...QUIET, memory: true, bootstrap: [] })
    await using second = await createBootstrap({ ...QUIET, memory: true, bootstrap: [] })
    const start = async (...known: Bootstrap[]) =>
      await createPeer({ ...QUIET, memory: true, bootstrap: known.flatMap(({ addresses }) => addresses.slice(0, 1)) })
    await using ana = await start(first)
    await using bob = await start(second)
    const seats = [await sit(ana), await sit(bob)]
    await using both = await start(first, second)
    seats.push(await sit(both))
    await allMeet(seats)
    await allTalk(seats)
    await eventually('both bootstraps list all three', async () => {
      for (const each of [first, second]) assert.equal((await each.status()).topics[0]?.members, 3)
    })
  })

  it('that another follows finds that one’s members by itself', async () => {
    await using first = await createBootstrap({ ...QUIET, memory: true, bootstrap: [] })
    await using second = await createBootstrap({ ...QUIET, memory: true, bootstrap: first.addresses.slice(0, 1) })
    await using ana = await createPeer({ ...QUIET, memory: true, bootstrap: second.addresses.slice(0, 1) })
    const seats = [await sit(ana)]
    await eventually('the first has reached it', async () => {
      assert.ok(first.node.isConnected(ana.peerId))
      assert.equal((await first.status()).topics[0]?.members, 1)
    })
    await using bob = await createPeer({ ...QUIET, memory: true, bootstrap: first.addresses.slice(0, 1) })
    seats.push(await sit(bob))
    await allMeet(seats)
  })

  it('that comes back with its identity and data is greeted again, and tells newcomers of the members', async () => {
    await using folder = await temporaryFolder()
    const port = await freePort()
    const first = await bootstrapAt(port, folder.path)
    const bootstrap = [`127.0.0.1:${port}`]
    await using ana = await createPeer({ ...QUIET, memory: true, bootstrap })
    await using bob = await createPeer({ ...QUIET, memory: true, bootstrap })
    const seats = [await sit(ana), await sit(bob)]
    await allMeet(seats)
    await first.close()
    await using second = await bootstrapAt(port, folder.path)
    assert.equal(second.peerId, first.peerId)
    await using cy = await createPeer({ ...QUIET, memory: true, bootstrap })
    seats.push(await sit(cy))
    await allMeet(seats)
    await allTalk(seats)
    await eventually(
      'it lists all three, come by themselves',
      async () => {
        assert.ok([ana, bob].every(({ node }) => node.isConnected(second.peerId)))
        assert.equal((await second.status()).topics[0]?.members, 3)
      },
      { withinMs: 60_000 }
    )
  })

  it('is not needed by peers with data that were all down: they are where they were', async () => {
    await using folders = new AsyncDisposableStack()
    const [anas, bobs] = [folders.use(await temporaryFolder()), folders.use(await temporaryFolder())]
    const port = await freePort()
    const start = async (data: string) => await createPeer({ ...QUIET, data, bootstrap: [`127.0.0.1:${port}`] })
    {
      await using bootstrap = await createBootstrap({
        ...QUIET,
        memory: true,
        listen: `127.0.0.1:${port}`,
        bootstrap: []
      })
      await using ana = await start(anas.path)
      await using bob = await start(bobs.path)
      await allMeet([await sit(ana), await sit(bob)])
      assert.ok(ana.node.isConnected(bootstrap.peerId))
    }
    await using ana = await start(anas.path)
    await using bob = await start(bobs.path)
    const seats = [await sit(ana), await sit(bob)]
    await allMeet(seats)
    await allTalk(seats)
  })

  it('with another identity than before is refused by name, and taken when it is named in full', async () => {
    await using folder = await temporaryFolder()
    const port = await freePort()
    const bootstrap = [`127.0.0.1:${port}`]
    const start = async (addresses: readonly string[] = bootstrap) =>
      await createPeer({ ...QUIET, data: folder.path, bootstrap: [...addresses] })
    {
      await using first = await createBootstrap({ ...QUIET, memory: true, listen: `127.0.0.1:${port}`, bootstrap: [] })
      await using peer = await start()
      await eventually('the first is known', () => peer.node.isConnected(first.peerId))
      await eventually('the DHT answers', () => peer.isReady)
    }
    await using other = await createBootstrap({ ...QUIET, memory: true, listen: `127.0.0.1:${port}`, bootstrap: [] })
    let wayOut: string | undefined
    {
      await using peer = await start()
      const codes = problemsOf(peer)
      peer.on('problem', error => {
        if (isMusterError(error, 'bootstrap-identity-changed')) wayOut = /--bootstrap (\S+)/.exec(error.message)?.[1]
      })
      await eventually('the change is told', () => codes.includes('bootstrap-identity-changed'))
      await eventually('nothing is left of the connection', () => !peer.node.isConnected(other.peerId))
    }
    assert.ok(wayOut !== undefined)
    {
      await using peer = await start([wayOut])
      await eventually('the new one is taken', () => peer.node.isConnected(other.peerId))
      const seat = await sit(peer)
      assert.deepEqual(seen(seat), [])
      await eventually('the DHT answers', () => peer.isReady)
    }
    await using peer = await start() // the short name means the new one from now on
    const codes = problemsOf(peer)
    await eventually('the new one is known', () => peer.node.isConnected(other.peerId))
    assert.deepEqual(codes, [])
  })
})
