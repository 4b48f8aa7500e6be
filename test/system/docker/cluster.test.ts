import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { makeBaseImage } from '../../support/docker-base.ts'
import { type Cluster, type Container, createCluster, type Line } from '../../support/docker-cluster.ts'
import { type Engine, openEngine } from '../../support/docker-engine.ts'

// The project's Dockerfile and docker-compose.yml on a real engine.

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
const TOPIC = 'global-chat'

test('a cluster of containers gathers, and outlives the death of each part', { timeout: 1_200_000 }, async t => {
  const engine = await openEngine()
  if (typeof engine === 'string') {
    assert(!process.env.CI, `the cluster has to be tested here, but ${engine}`)
    t.skip(engine)
    return
  }
  await using running = engine
  t.diagnostic(`engine ${running.isOwn ? 'of our own' : 'of this machine'}, Compose ${running.composeVersion}`)
  const image = await buildImage(t, running)
  try {
    await using cluster = await createCluster(running, ROOT, image)
    try {
      await gatherAndOutlive(t, cluster)
    } catch (thrown) {
      t.diagnostic(await cluster.story())
      throw thrown
    }
  } finally {
    if (!running.isOwn) await running.docker(['image', 'rm', '--force', image])
  }
})

/** Resolves with its name. */
async function buildImage(t: TestContext, engine: Engine): Promise<string> {
  const name = `muster-test-${randomBytes(4).toString('hex')}`
  if (engine.isOwn) {
    const base = /^ARG NODE_IMAGE=(\S+)$/m.exec(await readFile(`${ROOT}/Dockerfile`, 'utf8'))?.[1]
    assert(base !== undefined, 'the Dockerfile names its base image')
    await timed(t, 'base image', () => makeBaseImage(engine, base))
  }
  const network = engine.isOwn ? ['--network', 'host'] : []
  await timed(t, 'image', () => engine.docker(['build', ...network, '-t', name, ROOT], { timeoutMs: 600_000 }))
  return name
}

async function gatherAndOutlive(t: TestContext, cluster: Cluster): Promise<void> {
  const step = async (sentence: string, body: () => Promise<void>): Promise<void> => {
    // After a failure the rest would only wait for what cannot come.
    let failure: unknown
    await t.test(sentence, async () => {
      try {
        await body()
      } catch (thrown) {
        failure = thrown
        throw thrown
      }
    })
    if (failure !== undefined) throw failure
  }

  await step('the bootstrap becomes healthy, and three peers follow', async () => {
    await timed(t, 'up', () => cluster.up())
    assert.equal((await cluster.containers('peer')).length, 3)
    await everybodyIsHealthy(cluster)
  })

  await step('nothing runs with more rights or open ports than it needs', async () => {
    const [bootstrap] = await cluster.containers('bootstrap')
    const peers = await cluster.containers('peer')
    for (const container of [bootstrap!, ...peers]) {
      const { Config, HostConfig } = await cluster.inspect(container)
      assert.match(Config.User, /^[1-9]\d*:[1-9]\d*$/)
      assert.equal(HostConfig.Privileged, false)
      assert.equal(HostConfig.ReadonlyRootfs, true)
      assert.deepEqual(HostConfig.CapDrop, ['ALL'])
      assert.deepEqual(HostConfig.SecurityOpt, ['no-new-privileges:true'])
    }
    const { Ports } = (await cluster.inspect(bootstrap!)).NetworkSettings
    assert.deepEqual(
      Ports['8469/tcp']?.map(({ HostIp }) => HostIp),
      ['127.0.0.1']
    )
    assert(Ports['8468/tcp']?.some(({ HostIp }) => HostIp === '0.0.0.0'))
    for (const peer of peers) {
      const open = Object.values((await cluster.inspect(peer)).NetworkSettings.Ports).filter(
        bindings => bindings !== null
      )
      assert.deepEqual(open, [])
    }
  })

  await step('every peer meets all others and gets a receipt from each', () =>
    timed(t, 'everybody meets', () => everybodyMeets(cluster, 3))
  )

  await step('what is put in one container is got in another, and exported', async () => {
    const [bootstrap] = await cluster.containers('bootstrap')
    const [first, second] = await cluster.containers('peer')
    const [asPeer, asBootstrap] = ['peer', 'bootstrap'].map(role => ['node', `/app/src/${role}/main.ts`])
    await cluster.exec(first!, ...asPeer!, 'put', 'colour', '"green"')
    assert.equal(await cluster.exec(second!, ...asPeer!, 'get', 'colour'), 'green\n')
    const exported = await cluster.exec(bootstrap!, ...asBootstrap!, 'export')
    const keys = exported
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line).key)
    assert.deepEqual(keys, ['colour'])
  })

  await step('a bootstrap that was killed comes back as itself, with its data, and the peers go on', async () => {
    const before = await cluster.status()
    assert.equal(before.role, 'bootstrap')
    const [bootstrap] = await cluster.containers('bootstrap')
    await cluster.kill(bootstrap!)
    assert.equal((await cluster.inspect(bootstrap!)).State.ExitCode, 137)
    const peers = await cluster.containers('peer')
    // Silent while it starts: what it knows then comes from its disk.
    for (const peer of peers) await cluster.pause(peer)
    try {
      await cluster.start(bootstrap!)
      await cluster.eventually('the bootstrap knows what it knew', async () => {
        const after = await cluster.status()
        assert.equal(after.peerId, before.peerId)
        assert(after.uptimeSeconds < before.uptimeSeconds)
        assert(after.records.providers >= 3, `providers: ${after.records.providers}`)
      })
    } finally {
      for (const peer of peers) await cluster.unpause(peer)
    }
    await cluster.eventually('the bootstrap lists the three members again', async () => {
      const { topics, health } = await cluster.status()
      assert(
        topics.some(({ members }) => members === 3),
        JSON.stringify(topics)
      )
      assert(health.ok, health.reason ?? 'no reason given')
    })
    await timed(t, 'everybody sees everybody after the restart', () => everybodyMeets(cluster, 3))
  })

  await step('a peer that was killed is noticed by the others', async () => {
    const [first, ...others] = await cluster.containers('peer')
    await timed(t, 'the loss is noticed', () =>
      everybodyPrints(cluster, others, 'lost', first!, () => cluster.kill(first!))
    )
  })

  await step('scaling brings the killed peer back as itself, and newcomers to everybody', async () => {
    const before = await Promise.all((await cluster.containers('peer')).map(peer => peerIdOf(cluster, peer)))
    await timed(t, 'scale', () => cluster.up('--scale', 'peer=5'))
    await timed(t, 'five meet', () => everybodyMeets(cluster, 5))
    const after = await Promise.all((await cluster.containers('peer')).map(peer => peerIdOf(cluster, peer)))
    assert.equal(new Set(after).size, 5)
    for (const peerId of before) assert(after.includes(peerId), `${peerId} is still a member`)
  })

  await step('a peer that is stopped says goodbye and ends by itself', async () => {
    const [first, ...others] = await cluster.containers('peer')
    await everybodyPrints(cluster, others, 'goodbye', first!, () => timed(t, 'stop', () => cluster.stop(first!)))
    assert.equal((await cluster.inspect(first!)).State.ExitCode, 0)
  })

  await step('down -v leaves nothing behind', async () => {
    await timed(t, 'down', () => cluster.down())
    assert.deepEqual(await cluster.leftovers(), [])
  })
}

async function everybodyIsHealthy(cluster: Cluster): Promise<void> {
  await cluster.eventually('every container is healthy', async () => {
    for (const container of [...(await cluster.containers('bootstrap')), ...(await cluster.containers('peer'))]) {
      const { Health } = (await cluster.inspect(container)).State
      const found = `${container.name}: ${Health?.Log?.at(-1)?.Output}`
      assert.equal(Health?.Status, 'healthy', found)
      assert.match(found, /the DHT answers, and so does /)
    }
  })
}

async function everybodyMeets(cluster: Cluster, count: number): Promise<void> {
  await cluster.eventually(`${count} peers know each other and have each other's receipts`, async () => {
    const peers = await cluster.containers('peer')
    assert.equal(peers.length, count)
    const printed = await Promise.all(peers.map(peer => cluster.lines(peer)))
    const ids = printed.map(lines => String(lines.findLast(({ event }) => event === 'listening')?.peerId))
    for (const [i, lines] of printed.entries()) {
      const others = ids.filter((_, j) => j !== i).sort()
      const life = lastLife(lines)
      assert.deepEqual([...presentIn(life)].sort(), others, `the members ${peers[i]!.name} sees`)
      for (const other of others) {
        assert(
          life.some(line => line.event === 'sent' && line.to === other && Number(line.rttMs) > 0),
          `${peers[i]!.name} has a receipt from ${other}`
        )
        assert(
          life.some(line => line.event === 'message' && line.from === other && line.topic === TOPIC),
          `${peers[i]!.name} has a message from ${other}`
        )
      }
    }
  })
}

/** After `end`, each of `others` prints a new line that says that `gone` left, and why. */
async function everybodyPrints(
  cluster: Cluster,
  others: readonly Container[],
  reason: string,
  gone: Container,
  end: () => Promise<void>
): Promise<void> {
  const peerId = await peerIdOf(cluster, gone)
  const before = await Promise.all(others.map(other => cluster.lines(other)))
  await end()
  await cluster.eventually(`the others print that ${gone.name} left: ${reason}`, async () => {
    for (const [i, other] of others.entries()) {
      const fresh = (await cluster.lines(other)).slice(before[i]!.length)
      const left = fresh.find(line => line.event === 'left' && line.peerId === peerId)
      assert.equal(left?.reason, reason, other.name)
    }
  })
}

/** A container that is started again goes on in the same log. */
function lastLife(lines: readonly Line[]): readonly Line[] {
  return lines.slice(lines.findLastIndex(({ event }) => event === 'listening'))
}

function presentIn(lines: readonly Line[]): Set<string> {
  const present = new Set<string>()
  for (const line of lines) {
    if (line.event === 'member') present.add(String(line.peerId))
    if (line.event === 'left') present.delete(String(line.peerId))
  }
  return present
}

async function peerIdOf(cluster: Cluster, container: Container): Promise<string> {
  const listening = (await cluster.lines(container)).findLast(({ event }) => event === 'listening')
  assert(typeof listening?.peerId === 'string', `${container.name} printed its peer id`)
  return listening.peerId
}

async function timed<T>(t: TestContext, what: string, body: () => Promise<T>): Promise<T> {
  const began = performance.now()
  try {
    return await body()
  } finally {
    t.diagnostic(`${what}: ${((performance.now() - began) / 1_000).toFixed(1)} s`)
  }
}
