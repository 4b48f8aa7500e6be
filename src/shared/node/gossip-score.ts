import type { GossipsubOpts } from '@libp2p/gossipsub'
import type { Preset } from './presets.ts'

type ScoreParams = NonNullable<GossipsubOpts['scoreParams']>
type TopicParams = NonNullable<ScoreParams['topics']>[string]

/** A counter that loses this much a second halves in so many seconds: ln 2 / (1 − decay). */
const HALF_IN_70_S = 0.99
const HALF_IN_14_S = 0.95
const HALF_IN_7_S = 0.9

/**
 * How a neighbour earns and loses in one topic. gossipsub scores no topic without such a row: 200 messages with bad
 * signatures leave the score at 0 (T19).
 */
export const TOPIC_SCORE: TopicParams = {
  topicWeight: 1,
  // P1: up to 2 for being there for 200 s, so that of two equals the older one stays
  timeInMeshWeight: 0.01,
  timeInMeshQuantum: 1_000,
  timeInMeshCap: 200,
  // P2: up to 8 for bringing news first
  firstMessageDeliveriesWeight: 0.4,
  firstMessageDeliveriesDecay: HALF_IN_7_S,
  firstMessageDeliveriesCap: 20,
  // P3 and P3b off: a topic may be silent for hours, and a quota would take its whole mesh for broken
  meshMessageDeliveriesWeight: 0,
  meshMessageDeliveriesThreshold: 1,
  meshMessageDeliveriesCap: 10,
  meshMessageDeliveriesDecay: 0.5,
  meshMessageDeliveriesWindow: 10,
  meshMessageDeliveriesActivation: 5_000,
  meshFailurePenaltyWeight: 0,
  meshFailurePenaltyDecay: 0.5,
  // P4: −20 × n². The best score is 10, so one invalid message prunes (below 0), two stop gossip and publishing, three
  // (−170 at best) graylist; ten keep a neighbour out for 160 s after the last. An honest node has judged what it passes on.
  invalidMessageDeliveriesWeight: -20,
  invalidMessageDeliveriesDecay: HALF_IN_70_S
}

export function scoreParams(preset: Preset): Partial<ScoreParams> {
  return {
    topicScoreCap: 10,
    appSpecificWeight: 0,
    // P6. More than 10 peers of one address lose the mesh with gossipsub's default: containers, offices, tests (T31). On
    // the internet 32 are let be, for those behind one NAT; 40 then have −64, and 100 of one host −4,624.
    IPColocationFactorWeight: preset === 'private' ? 0 : -1,
    IPColocationFactorThreshold: 32,
    // P7: broken promises, GRAFT in the back-off, and what our judges only ignored, when it is too much of it. Six are
    // forgiven, as a busy node breaks promises too; ten have −160.
    behaviourPenaltyWeight: -10,
    behaviourPenaltyThreshold: 6,
    behaviourPenaltyDecay: HALF_IN_14_S,
    decayInterval: 1_000,
    decayToZero: 0.01,
    // a bad score survives a reconnect for so long
    retainScore: 10 * 60_000
  }
}

export const SCORE_THRESHOLDS: NonNullable<GossipsubOpts['scoreThresholds']> = {
  gossipThreshold: -10,
  publishThreshold: -50,
  graylistThreshold: -80,
  // addresses of others come from rosters, signed; never from a neighbour in the mesh
  acceptPXThreshold: 1_000_000,
  // when half the mesh has brought so little, two better ones are looked for
  opportunisticGraftThreshold: 1
}
