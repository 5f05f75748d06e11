/* Runs in the meeting page before its own code; meeting-page.ts calls these through `window.probe`. */
(() => {
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

  function look(label) {
    const video = document.querySelector(`video[aria-label="${label}"]`);
    if (!video || video.videoWidth === 0) return undefined;
    return {
      frames: video.getVideoPlaybackQuality().totalVideoFrames,
      width: video.videoWidth,
      visible: visibleShare(video),
    };
  }

  /** The loudest sample that the page's audio elements play within `durationMs`. */
  async function audioPeak(durationMs) {
    const context = new AudioContext();
    await context.resume();
    const analyser = context.createAnalyser();
    for (const element of document.querySelectorAll('audio')) {
      if (element.srcObject?.getAudioTracks().length > 0) {
        context.createMediaStreamSource(element.srcObject).connect(analyser);
      }
    }
    const samples = new Float32Array(analyser.fftSize);
    let peak = 0;
    for (const endMs = performance.now() + durationMs; performance.now() < endMs;) {
      analyser.getFloatTimeDomainData(samples);
      for (const sample of samples) peak = Math.max(peak, Math.abs(sample));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await context.close();
    return peak;
  }

  /** What a screen reader could not name: buttons and fields without text or label. */
  function nameless() {
    const hasName = (element) =>
      (element.textContent ?? '').trim() !== '' || element.ariaLabel || element.labels?.length > 0;
    return [...document.querySelectorAll('button, input, video')]
      .filter((element) => element.offsetParent !== null && !hasName(element))
      .map((element) => element.outerHTML.slice(0, 200));
  }

  /** By how much the page is wider than its window. */
  function overflowPx() {
    return document.documentElement.scrollWidth - window.innerWidth;
  }

  window.probe = { look, audioPeak, nameless, overflowPx };
})();
