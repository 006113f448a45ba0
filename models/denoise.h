/* models/denoise.h: from a noise latent to a clean one in one or more steps, by DDIM without noise of its own (eta 0) or
 * by the sampler of latent consistency models. Sources: diffusers scheduling_ddim.py and scheduling_lcm.py. */
#ifndef MODELS_DENOISE_H
#define MODELS_DENOISE_H
#include "models/scheduler.h"
#include "models/unet.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef enum { MD_DDIM, MD_LCM } md_sampler;
/* Where DDIM's steps lie among T = train_steps timesteps. One step: trailing is at T-1, where a fine-tuned model was
 * trained; leading at steps_offset (0 or 1) and linspace at 0, where the network is told that the noise is clean. */
typedef enum { MD_TRAILING, MD_LEADING, MD_LINSPACE } md_spacing;

/* timesteps [steps], falling. LCM has a spacing of its own. Errors: E_CONFIG: more steps than the schedule has, or steps
 * outside it (leading, with an offset). */
int md_timesteps(const md_schedule *s, md_sampler sampler, md_spacing spacing, int steps, int *timesteps);

/* One step of DDIM at timestep t, of `steps` in all: x0 as md_schedule_x0 has it, and prev, the latent at
 * t - train_steps/steps; where that is negative the alpha is 1 or, without set_alpha_to_one, that of timestep 0, and prev
 * is then not quite x0. x, out and both results [B,C,h,w]; results are f32. Either pointer may be NULL. */
int md_ddim_step(const md_schedule *s, int t, int steps, const tchc_tensor *x, const tchc_tensor *out, tchc_tensor **x0,
                 tchc_tensor **prev);
/* One step of LCM at timestep t. denoised: x0 and x weighted by the boundary condition. prev: denoised with `noise`
 * [B,C,h,w] up to timestep next; noise NULL: the last step, prev is denoised. Results as above. */
int md_lcm_step(const md_schedule *s, int t, int next, const tchc_tensor *x, const tchc_tensor *out,
                const tchc_tensor *noise, tchc_tensor **denoised, tchc_tensor **prev);

typedef struct md_denoiser {
  md_unet *unet;
  const md_schedule *schedule;
  const tchc_tensor *text;  /* [1,T,cross_attention_dim] */
  md_sampler sampler;
  const int *timesteps;
  int steps;
  bool clean_end;           /* the last step gives x0, as the reference's pipeline takes it, not prev, as diffusers' do */
  bool rgb_alone;           /* a U-Net without noise channels: the noise latent counts as zeros and is not shown */
  /* LCM with more than one step: the noise after step i, [B,C,h,w] f32 as x is, on x's device. */
  int (*step_noise)(void *ctx, int i, const tchc_tensor *x, tchc_tensor **noise);
  void *ctx;
} md_denoiser;
/* rgb and noise [B,C,h,w] -> latent [B,C,h,w] f32, still times the VAE's scaling_factor. Nothing waits for the device. */
int md_denoise(const md_denoiser *d, const tchc_tensor *rgb, const tchc_tensor *noise, tchc_tensor **latent);
#ifdef __cplusplus
}
#endif
#endif
