/* Runs in the kit's Chromium pages beside livekit-client; browser.ts calls these through `window.kit`. */
(() => {
  const client = window.LivekitClient;
  const analysers = new Map();
  const elementsOf = new WeakMap();
  window.events = [];
  window.packets = [];
  window.streams = [];
  window.subscribed = [];
  window.streamStates = [];
  window.disconnectReason = undefined;

  const findPublication = (trackSid) =>
    [...window.room.remoteParticipants.values()]
      .flatMap((participant) => [...participant.trackPublications.values()])
      .find((publication) => publication.trackSid === trackSid);

  function show(track) {
    const element = track.attach();
    elementsOf.set(track, [element]);
    element.id = track.sid;
    document.body.append(element);
  }

  /**
   * livekit-client (2.23) keeps back what happens between its own `Reconnected` and the end of its reconnect, and tells it
   * with the next reconnect only. The track is there and receives, and without an element Chromium plays nothing of it.
   */
  function shownTrack(trackSid) {
    const track = findPublication(trackSid)?.track;
    if (track && track.attachedElements.length === 0) show(track);
    return track;
  }

  async function connect(url, token, roomOptions, connectOptions) {
    const room = new client.Room(roomOptions);
    window.room = room;
    for (const name of Object.values(client.RoomEvent)) room.on(name, () => window.events.push(name));
    room.on(client.RoomEvent.DataReceived, (payload, participant, kind, topic) => {
      const text = payload.length > 4096 ? '' : new TextDecoder().decode(payload);
      window.packets.push({
        text,
        sizeBytes: payload.length,
        topic: topic ?? '',
        from: participant?.identity ?? '',
        kind: kind ?? 0,
      });
    });
    room.on(client.RoomEvent.TrackStreamStateChanged, ({ trackSid }, state) =>
      window.streamStates.push(`${state} ${trackSid}`),
    );
    room.on(client.RoomEvent.TrackSubscribed, show);
    room.on(client.RoomEvent.TrackUnsubscribed, (track) => {
      // A track that another one replaces is detached before it is reported, so `detach` does not tell its element. The
      // other one may have it by then, and would fall silent without its element in the document.
      for (const element of [...track.detach(), ...(elementsOf.get(track) ?? [])]) {
        if (element.id === track.sid) element.remove();
      }
    });
    room.on(client.RoomEvent.LocalTrackSubscribed, (publication) => window.subscribed.push(publication.trackSid));
    room.on(client.RoomEvent.Disconnected, (reason) => {
      window.disconnectReason = reason ?? 0;
    });
    await room.connect(url, token, connectOptions);
  }

  /** From now on the page finds the server's media port at another one, by UDP alone. */
  function reroute(from, to) {
    const original = Object.getOwnPropertyDescriptor(RTCPeerConnection.prototype, 'setRemoteDescription').value;
    RTCPeerConnection.prototype.setRemoteDescription = function setRerouted({ type, sdp }) {
      const lines = sdp.split('\r\n').filter((line) => !/^a=candidate:\S+ \d+ tcp /i.test(line));
      const moved = lines.map((line) =>
        line.startsWith('a=candidate:') ? line.replace(` ${from} typ`, ` ${to} typ`) : line,
      );
      return original.call(this, { type, sdp: moved.join('\r\n') });
    };
  }

  async function publishCamera(options) {
    const {
      width = 640,
      height = 360,
      fps = 15,
      codec = 'vp8',
      simulcast = false,
      scalabilityMode,
      layers,
      backupCodec = false,
    } = options;
    const track = await client.createLocalVideoTrack({ resolution: { width, height, frameRate: fps } });
    const publication = await window.room.localParticipant.publishTrack(track, {
      source: client.Track.Source.Camera,
      videoCodec: codec,
      simulcast,
      backupCodec,
      ...(scalabilityMode === undefined ? {} : { scalabilityMode }),
      ...(layers === undefined
        ? {}
        : {
            videoSimulcastLayers: layers.map(
              (layer) => new client.VideoPreset(layer.width, layer.height, layer.bitrateBps, layer.fps),
            ),
          }),
    });
    return publication.trackSid;
  }

  async function publishMicrophone(options = {}) {
    const track = await client.createLocalAudioTrack({
      echoCancellation: false,
      noiseSuppression: false,
      autoGainControl: false,
    });
    return (await window.room.localParticipant.publishTrack(track, options)).trackSid;
  }

  /** A steady tone in place of the fake microphone, whose beeps are too short to count as speaking. */
  async function publishTone() {
    const context = new AudioContext();
    await context.resume();
    const output = context.createMediaStreamDestination();
    const oscillator = context.createOscillator();
    const gain = context.createGain();
    gain.gain.value = 0.3;
    oscillator.connect(gain).connect(output);
    oscillator.start();
    const [track] = output.stream.getAudioTracks();
    const publication = await window.room.localParticipant.publishTrack(track, {
      source: client.Track.Source.Microphone,
    });
    return publication.trackSid;
  }

  async function publishScreen() {
    const publication = await window.room.localParticipant.setScreenShareEnabled(
      true,
      { resolution: { width: 640, height: 360, frameRate: 10 } },
      { videoCodec: 'vp8', simulcast: false },
    );
    return publication.trackSid;
  }

  const localPublication = (trackSid) =>
    [...window.room.localParticipant.trackPublications.values()].find(
      (publication) => publication.trackSid === trackSid,
    );

  async function unpublish(trackSid) {
    const track = localPublication(trackSid)?.track;
    if (track) await window.room.localParticipant.unpublishTrack(track);
  }

  /** What the sender of a published video does with each of its encodings. */
  function encodings(trackSid) {
    const sender = localPublication(trackSid)?.track?.sender;
    return (sender?.getParameters().encodings ?? []).map(({ rid, active, scalabilityMode, maxBitrate }) => ({
      rid: rid ?? '',
      active: active ?? true,
      scalabilityMode: scalabilityMode ?? '',
      maxBitrate: maxBitrate ?? 0,
    }));
  }

  const toHex = (buffer) => [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, '0')).join('');

  /** Keeps what arrives as text or byte stream of a topic in `window.streams`; of bytes, their SHA-256. */
  function receiveStreams(topic) {
    const keep = (kind, reader, from, content) => {
      const { name = '', attributes = {} } = reader.info;
      window.streams.push({ kind, topic, from: from.identity, name, attributes: { ...attributes }, ...content });
    };
    window.room.registerTextStreamHandler(topic, async (reader, from) => {
      const text = await reader.readAll();
      keep('text', reader, from, { text, sizeBytes: new TextEncoder().encode(text).length });
    });
    window.room.registerByteStreamHandler(topic, async (reader, from) => {
      const bytes = await new Blob(await reader.readAll()).arrayBuffer();
      const text = toHex(await crypto.subtle.digest('SHA-256', bytes));
      keep('bytes', reader, from, { text, sizeBytes: bytes.byteLength });
    });
  }

  /** What adaptive stream goes by: the size of the element on the page, and whether it is there at all. */
  function resizeElement(trackSid, width, height) {
    const { style } = document.getElementById(trackSid);
    style.width = `${width}px`;
    style.height = `${height}px`;
    style.display = width === 0 ? 'none' : 'block';
  }

  function visibleShare(video) {
    const canvas = document.createElement('canvas');
    canvas.width = 64;
    canvas.height = 36;
    const context = canvas.getContext('2d', { willReadFrequently: true });
    context.drawImage(video, 0, 0, canvas.width, canvas.height);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
    let bright = 0;
    for (let index = 0; index < pixels.length; index += 4) {
      if (pixels[index] + pixels[index + 1] + pixels[index + 2] > 48) bright += 1;
    }
    return bright / (canvas.width * canvas.height);
  }

  async function lookAt(trackSid) {
    const report = await shownTrack(trackSid)?.getRTCStatsReport();
    const element = document.getElementById(trackSid);
    if (!report || !element) return undefined;
    const entries = [...report.values()];
    const inbound = entries.find((entry) => entry.type === 'inbound-rtp') ?? {};
    return {
      framesDecoded: inbound.framesDecoded ?? 0,
      frameWidth: inbound.frameWidth ?? 0,
      frameHeight: inbound.frameHeight ?? 0,
      freezeCount: inbound.freezeCount ?? 0,
      pliCount: inbound.pliCount ?? 0,
      packetsLost: inbound.packetsLost ?? 0,
      codec: entries.find((entry) => entry.id === inbound.codecId)?.mimeType ?? '',
      visible: visibleShare(element),
    };
  }

  async function analyserOf(track) {
    const known = analysers.get(track.id);
    if (known) return known;
    const context = new AudioContext();
    await context.resume();
    const analyser = context.createAnalyser();
    context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
    analysers.set(track.id, analyser);
    return analyser;
  }

  async function audioPeak(trackSid, windowMs, enough = Infinity) {
    const track = shownTrack(trackSid)?.mediaStreamTrack;
    if (!track) return 0;
    const analyser = await analyserOf(track);
    const samples = new Float32Array(analyser.fftSize);
    let peak = 0;
    for (const endMs = performance.now() + windowMs; performance.now() < endMs && peak < enough;) {
      analyser.getFloatTimeDomainData(samples);
      for (const sample of samples) peak = Math.max(peak, Math.abs(sample));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return peak;
  }

  /** What came of a sound, for whom hears nothing of it. */
  async function soundStats(trackSid) {
    const { track } = findPublication(trackSid);
    const report = (await track?.receiver?.getStats()) ?? new Map();
    const inbound = [...report.values()].find(({ type }) => type === 'inbound-rtp');
    const { packetsReceived, packetsLost, totalAudioEnergy, concealedSamples, ssrc } = inbound ?? {};
    const elements = (track?.attachedElements ?? []).map((element) => ({
      isConnected: element.isConnected,
      paused: element.paused,
      currentTime: element.currentTime,
      tracks: element.srcObject?.getTracks().map(({ id }) => id === track.mediaStreamTrack.id),
    }));
    const { readyState, muted } = track?.mediaStreamTrack ?? {};
    return { readyState, muted, packetsReceived, packetsLost, totalAudioEnergy, concealedSamples, ssrc, elements };
  }

  const gaps = new Map();

  /** Measures the longest time between two frames on the screen, or two packets of sound. */
  function watchGaps(trackSid) {
    const { track } = findPublication(trackSid);
    const gap = { lastMs: performance.now(), maxMs: 0 };
    gaps.set(trackSid, gap);
    // A page that was busy sees several packets of sound at once, which came in the meantime, one each 20 ms.
    const seen = (packets = 1) => {
      const nowMs = performance.now();
      gap.maxMs = Math.max(gap.maxMs, nowMs - gap.lastMs - (packets - 1) * 20);
      gap.lastMs = nowMs;
    };
    if (track.kind === 'video') {
      const element = document.getElementById(trackSid);
      const onFrame = () => {
        seen();
        if (gaps.get(trackSid) === gap) element.requestVideoFrameCallback(onFrame);
      };
      element.requestVideoFrameCallback(onFrame);
    } else {
      let before = -1;
      const look = async () => {
        const report = await track.getRTCStatsReport();
        const inbound = [...(report?.values() ?? [])].find((entry) => entry.type === 'inbound-rtp');
        const packets = inbound?.packetsReceived ?? 0;
        if (packets > 0 && packets !== before) seen(before < 0 ? 1 : packets - before);
        before = packets;
        if (gaps.get(trackSid) === gap) setTimeout(look, 10);
      };
      void look();
    }
  }

  /** In milliseconds, since `watchGaps`. */
  function gapOf(trackSid) {
    const { lastMs, maxMs } = gaps.get(trackSid);
    return Math.max(maxMs, performance.now() - lastMs);
  }

  window.kit = {
    connect,
    reroute,
    watchGaps,
    gapOf,
    publishCamera,
    publishMicrophone,
    publishTone,
    publishScreen,
    unpublish,
    localPublication,
    findPublication,
    encodings,
    receiveStreams,
    resizeElement,
    lookAt,
    audioPeak,
    soundStats,
  };
})();
