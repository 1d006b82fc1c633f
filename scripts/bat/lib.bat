@echo off
rem Shared by the scripts of this folder: three coordinators, workers and a gateway as processes on this machine.
rem Called as `call lib.bat :name arguments`, not run. The twin of scripts/sh/lib.sh; what cmd cannot do is said here:
rem
rem - PowerShell starts the processes, since cmd does not tell the number of a process. Each has a minimised window of its own and
rem   is asked to end by closing that window; one whose window is a tab of Windows Terminal can only be killed. Whatever was
rem   acknowledged is on the disk by then, so nothing is lost when it does not end in order.
rem - A log begins anew with each start of its process.
rem - Ctrl-C of a batch file cannot be caught: start-local-cluster.bat waits for a key instead.
rem
rem Ports follow from a base B (8000 gives the usual ones): gateway B+80; coordinators' HTTP B+90, B+91, B+92; their worker
rem ports B+1090...; their Raft ports B-1000...; workers' HTTP B+70, B+71.
set "zkp_call=%~1"
if not defined zkp_call (
  echo lib.bat is called by the other scripts of this folder 1>&2
  exit /b 2
)
rem Without /1 it would move the name of this file as well, which :init needs.
shift /1
goto %zkp_call%

:usage
echo Options: --port-base N (default 8000)  --data FOLDER (default data\cluster)  --workers N (default 2)  --slots N
echo ZKP_BINARY names another zkpnet than target\release\zkpnet.exe, which is built when it is not there.
exit /b 0

:init
for %%I in ("%~dp0..\..") do set "root=%%~fI"
set "port_base=8000"
set "data=%root%\data\cluster"
set "workers=2"
set "prover_slots="
exit /b 0

rem :options ARGUMENTS: reads the options that all scripts take.
:options
if "%~1"=="" goto options_end
if "%~1"=="-h" goto options_help
if "%~1"=="--help" goto options_help
if "%~2"=="" goto options_missing
if "%~1"=="--port-base" ( set "port_base=%~2" & shift /1 & shift /1 & goto options )
if "%~1"=="--data" ( set "data=%~2" & shift /1 & shift /1 & goto options )
if "%~1"=="--workers" ( set "workers=%~2" & shift /1 & shift /1 & goto options )
if "%~1"=="--slots" ( set "prover_slots=%~2" & shift /1 & shift /1 & goto options )
echo unknown option %~1 1>&2
call :usage 1>&2
exit /b 2
:options_missing
echo %~1 is unknown, or wants a value 1>&2
exit /b 2
:options_help
call :usage
exit /b 1
:options_end
for /f "delims=0123456789" %%C in ("%port_base%%workers%") do (
  echo --port-base and --workers want whole numbers 1>&2
  exit /b 2
)
if %workers% GTR 10 (
  echo --workers: at most 10, or their ports would be others' 1>&2
  exit /b 2
)
if %port_base% LSS 2024 goto options_range
if %port_base% GTR 64000 goto options_range
if not exist "%data%" mkdir "%data%"
for %%I in ("%data%") do set "data=%%~fI"
if not exist "%data%\log" mkdir "%data%\log"
set /a gateway_port=port_base+80
call :binary
exit /b %errorlevel%
:options_range
echo --port-base: %port_base% is out of range: allowed is 2024 to 64000 1>&2
exit /b 2

rem :ports N: the ports of the coordinator or worker of that number.
:ports
set /a http_port=port_base+89+%~1
set /a grpc_port=port_base+1089+%~1
set /a raft_port=port_base-1001+%~1
set /a worker_port=port_base+69+%~1
exit /b 0

:binary
set "binary=%ZKP_BINARY%"
if defined binary exit /b 0
set "target=%CARGO_TARGET_DIR%"
if not defined target set "target=%root%\target"
set "binary=%target%\release\zkpnet.exe"
if exist "%binary%" exit /b 0
pushd "%root%"
cargo build --release --quiet
popd
if exist "%binary%" exit /b 0
echo %binary% could not be built 1>&2
exit /b 2

rem :pid NAME: reads into pid which process an earlier call started under that name; nothing when none did.
:pid
set "pid="
if exist "%data%\run\%~1.pid" set /p pid=<"%data%\run\%~1.pid"
exit /b 0

rem :is_running NAME: whether the process of that name, which an earlier call started, runs. A number may be given anew, so that the
rem program's name is looked at too.
:is_running
setlocal
call :pid %~1
if not defined pid ( endlocal & exit /b 1 )
for %%I in ("%binary%") do set "image=%%~nxI"
tasklist /nh /fi "pid eq %pid%" /fi "imagename eq %image%" 2>nul | find " %pid% " >nul
endlocal & exit /b %errorlevel%

rem :launch NAME COMMAND CONFIG: starts a process in a window of its own; its words go to a log of its name.
:launch
call :is_running %~1
if not errorlevel 1 (
  echo %~1 runs already
  exit /b 0
)
setlocal
if not exist "%data%\run" mkdir "%data%\run"
set "zkp_program=%binary%"
set "zkp_command=%~2"
set "zkp_config=%root%\config\%~3"
set "zkp_log=%data%\log\%~1"
set "zkp_pid_file=%data%\run\%~1.pid"
set "start=$p = Start-Process -PassThru -WindowStyle Minimized -FilePath $env:zkp_program"
set "start=%start% -ArgumentList ($env:zkp_command + ' --config ' + [char]34 + $env:zkp_config + [char]34)"
set "start=%start% -RedirectStandardError ($env:zkp_log + '.log') -RedirectStandardOutput ($env:zkp_log + '.out')"
powershell -NoProfile -Command "%start%; Set-Content -Encoding Ascii -Path $env:zkp_pid_file -Value $p.Id"
endlocal & exit /b %errorlevel%

:start_coordinator
setlocal
set "n=%~1"
set "peers="
for %%O in (1 2 3) do call :add_peer %%O
call :ports %n%
if not exist "%data%\data.key" "%binary%" tls data-key --out "%data%\data.key" >nul
set "ZKPNET_COORDINATOR__ID=coordinator-%n%"
set "ZKPNET_RAFT__NODE_ID=coordinator-%n%"
set "ZKPNET_RAFT__PEERS=%peers%"
set "ZKPNET_RAFT__RAFT_PORT=%raft_port%"
set "ZKPNET_RAFT__HOST=127.0.0.1"
set "ZKPNET_HTTP__HOST=127.0.0.1"
set "ZKPNET_HTTP__PORT=%http_port%"
set "ZKPNET_GRPC__HOST=127.0.0.1"
set "ZKPNET_GRPC__PORT=%grpc_port%"
set "ZKPNET_STORAGE__DATA_DIR=%data%\coordinator-%n%"
set "ZKPNET_STORAGE__KEY_FILE=%data%\data.key"
call :launch coordinator-%n% coordinator coordinator-cluster.yaml
endlocal
exit /b 0

:add_peer
call :ports %~1
if defined peers set "peers=%peers%,"
set "peers=%peers%coordinator-%~1=127.0.0.1:%raft_port%"
exit /b 0

:start_worker
setlocal
set "n=%~1"
set "ZKPNET_WORKER__COORDINATOR_ADDRESS="
for %%O in (1 2 3) do call :add_worker_port %%O
call :ports %n%
set "ZKPNET_WORKER__ID=worker-%n%"
set "ZKPNET_HTTP__HOST=127.0.0.1"
set "ZKPNET_HTTP__PORT=%worker_port%"
set "ZKPNET_STORAGE__DATA_DIR=%data%\worker-%n%"
if defined prover_slots set "ZKPNET_PROVER__SLOTS=%prover_slots%"
call :launch worker-%n% worker worker.yaml
endlocal
exit /b 0

:add_worker_port
call :ports %~1
if defined ZKPNET_WORKER__COORDINATOR_ADDRESS set "ZKPNET_WORKER__COORDINATOR_ADDRESS=%ZKPNET_WORKER__COORDINATOR_ADDRESS%,"
set "ZKPNET_WORKER__COORDINATOR_ADDRESS=%ZKPNET_WORKER__COORDINATOR_ADDRESS%127.0.0.1:%grpc_port%"
exit /b 0

:start_gateway
setlocal
set "ZKPNET_GATEWAY__COORDINATORS="
for %%O in (1 2 3) do call :add_coordinator %%O
set "ZKPNET_HTTP__HOST=127.0.0.1"
set "ZKPNET_HTTP__PORT=%gateway_port%"
call :launch gateway gateway gateway.yaml
endlocal
exit /b 0

:add_coordinator
call :ports %~1
if defined ZKPNET_GATEWAY__COORDINATORS set "ZKPNET_GATEWAY__COORDINATORS=%ZKPNET_GATEWAY__COORDINATORS%,"
set "ZKPNET_GATEWAY__COORDINATORS=%ZKPNET_GATEWAY__COORDINATORS%127.0.0.1:%http_port%"
exit /b 0

:start_all
for %%N in (1 2 3) do call :start_coordinator %%N
for /l %%N in (1,1,%workers%) do call :start_worker %%N
call :start_gateway
exit /b 0

rem :stop_one NAME: asks its window to close, and ends it by force when that has not helped in 30 seconds.
:stop_one
setlocal
set "tries=0"
call :is_running %~1
if errorlevel 1 goto stopped
call :pid %~1
taskkill /pid %pid% >nul 2>&1
if errorlevel 1 taskkill /f /pid %pid% >nul 2>&1
:stop_wait
call :is_running %~1
if errorlevel 1 goto stopped
set /a tries+=1
if %tries% GTR 30 (
  echo %~1 does not end: killed 1>&2
  taskkill /f /pid %pid% >nul 2>&1
  goto stopped
)
call :pause_a_second
goto stop_wait
:stopped
if exist "%data%\run\%~1.pid" del "%data%\run\%~1.pid"
endlocal
exit /b 0

rem :stop_all: the gateway first, then the workers, which give back what they hold, then the coordinators.
:stop_all
call :stop_one gateway
for /l %%N in (1,1,10) do call :stop_one worker-%%N
for %%N in (1 2 3) do call :stop_one coordinator-%%N
exit /b 0

rem :wait_until_ready: comes back when the gateway takes tasks, or ends with an error.
:wait_until_ready
setlocal
set "tries=0"
:ready_wait
"%binary%" healthcheck --ready --server "http://127.0.0.1:%gateway_port%" >nul 2>&1
if not errorlevel 1 ( endlocal & exit /b 0 )
for %%P in (coordinator-1 coordinator-2 coordinator-3 gateway) do (
  call :is_running %%P
  if errorlevel 1 (
    echo %%P has ended; see %data%\log\%%P.log 1>&2
    endlocal & exit /b 1
  )
)
set /a tries+=1
if %tries% GTR 60 (
  echo the cluster did not become ready in time; see %data%\log 1>&2
  endlocal & exit /b 1
)
call :pause_a_second
goto ready_wait

:print_addresses
setlocal
echo gateway        http://127.0.0.1:%gateway_port%/api/v1/tasks
for %%N in (1 2 3) do call :print_coordinator %%N
for /l %%N in (1,1,%workers%) do call :print_worker %%N
echo logs           %data%\log
endlocal
exit /b 0

:print_coordinator
call :ports %~1
echo coordinator-%~1  http://127.0.0.1:%http_port%/health   workers 127.0.0.1:%grpc_port%   raft 127.0.0.1:%raft_port%
exit /b 0

:print_worker
call :ports %~1
echo worker-%~1       http://127.0.0.1:%worker_port%/health
exit /b 0

rem timeout wants a console to read from, which a scheduled task has not.
:pause_a_second
ping -n 2 127.0.0.1 >nul
exit /b 0
