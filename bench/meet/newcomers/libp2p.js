import { exit, job, mark, report } from './clock.js'

const [
  { createLibp2p },
  { tcp },
  { noise },
  { yamux },
  { identify },
  { ping },
  { kadDHT, passthroughMapper },
  { multiaddr },
  { CID },
  { create: digest }
] = await Promise.all([
  import('libp2p'),
  import('@libp2p/tcp'),
  import('@chainsafe/libp2p-noise'),
  import('@libp2p/yamux'),
  import('@libp2p/identify'),
  import('@libp2p/ping'),
  import('@libp2p/kad-dht'),
  import('@multiformats/multiaddr'),
  import('multiformats/cid'),
  import('multiformats/hashes/digest')
])
mark('import')

const node = await createLibp2p({
  addresses: { listen: [`/ip4/${job.host}/tcp/0`] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: {
    identify: identify(),
    ping: ping(),
    dht: kadDHT({
      protocol: '/meet/kad/1.0.0',
      // Without it private addresses are dropped and nothing is ever found on loopback.
      peerInfoMapper: passthroughMapper,
      ...(job.tuned ? { allowQueryWithZeroPeers: true, initialQuerySelfInterval: 1 } : {})
    })
  }
})
mark('listen')

await node.dial(multiaddr(job.bootstrap))
mark('bootstrap')

const key = CID.createV1(0x55, digest(0x12, Buffer.from(job.topic, 'hex')))
let queries = 0
for (let member; member === undefined; ) {
  queries++
  try {
    for await (const event of node.services.dht.findProviders(key)) {
      if (event.name !== 'PROVIDER') continue
      member = event.providers.find(provider => provider.multiaddrs.length > 0)
      if (member !== undefined) break
    }
  } catch {
    // a query before the table has an entry fails: ask again
  }
  if (member === undefined) {
    await new Promise(resolve => setTimeout(resolve, 10))
    continue
  }
  mark('find')
  const connection = await node.dial(member.multiaddrs)
  mark('connect')
  const stream = await connection.newStream('/meet/echo/1.0.0')
  const answered = new Promise(resolve => stream.addEventListener('message', resolve, { once: true }))
  stream.send(new TextEncoder().encode('hello'))
  await answered
  mark('message')
}
report({ queries })
await node.stop()
exit()
