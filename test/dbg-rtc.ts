import { startMoveCluster } from './kit/move-cluster.ts';
import { disposeRtcNode, RtcClient } from './kit/rtc-node.ts';
import { until } from './kit/until.ts';
import { RoomEvent } from '@livekit/rtc-node';
const cluster = await startMoveCluster(['from','to']);
const [from,to]=cluster.places as any;
const t0=performance.now(); const log=(...a:any[])=>console.log(Math.round(performance.now()-t0),...a);
const alice = await RtcClient.join({url:cluster.url, room:'r', identity:'alice'});
await alice.publishVideo({simulcast:true}); await alice.publishAudio();
const bob = await RtcClient.join({url:cluster.url, room:'r', identity:'bob'});
const seen = bob.watchVideo(await bob.waitForTrack('alice','video'));
const heard = bob.listen(await bob.waitForTrack('alice','audio'));
await until(()=> seen.frames>5 && heard.peak>1000?'':'no');
let n=0; const iv2=setInterval(()=>void alice.local.publishData(Buffer.from(String(n++)),{reliable:true}),50);
for (const ev of Object.values(RoomEvent)) if(!String(ev).includes('peaker')) { alice.room.on(ev as any, ()=>log('alice',ev)); }
for (const m of ['sub','pub']) for (let i=0;i<4;i++) {
  const [f,t]= i%2===0?[from,to]:[to,from];
  const sids = m==='pub'?[alice.sid]:m==='sub'?[bob.sid]:[alice.sid,bob.sid];
  seen.maxGapMs=0; heard.maxSilenceMs=0;
  await cluster.prepare('r',sids,f,t);
  cluster.trigger('r',sids,f);
  await cluster.left(f,sids).catch(e=>log('NOT LEFT', e.message.slice(0,400)));
  const fr=seen.frames;
  await new Promise(r=>setTimeout(r,Number(process.argv[2]??2500)));
  log(m, 'gap', seen.maxGapMs, heard.maxSilenceMs, seen.frames-fr);
}
for (const l of cluster.log.lines.slice(-40)) if(!String(l.msg).includes('brought')) console.log(JSON.stringify(l));
clearInterval(iv2);
await bob.close(); await alice.close(); await disposeRtcNode(); await cluster.close(); process.exit(0);
