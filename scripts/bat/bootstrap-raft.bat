@echo off
rem Makes the cluster anew: stops everything, removes the coordinators' Raft data, starts coordinator-1, which founds the
rem cluster, then coordinator-2 and coordinator-3. EVERY TASK IS LOST. Asks first, unless --yes comes before the options.
setlocal
set "yes="
set "options=%*"
if "%~1"=="--yes" (
  set "yes=1"
  call set "options=%%options:*--yes=%%"
)
call "%~dp0lib.bat" :init
call "%~dp0lib.bat" :options %options%
if errorlevel 2 exit /b 2
if errorlevel 1 exit /b 0
if defined yes goto go_on
set "answer="
set /p "answer=This removes all tasks in %data%. Go on? [y/N] "
if /i "%answer%"=="y" goto go_on
if /i "%answer%"=="yes" goto go_on
echo nothing was changed
exit /b 1

:go_on
call "%~dp0lib.bat" :stop_all
for %%N in (1 2 3) do if exist "%data%\coordinator-%%N\raft" rmdir /s /q "%data%\coordinator-%%N\raft"
if exist "%data%\log\coordinator-1.log" del "%data%\log\coordinator-1.log"
call "%~dp0lib.bat" :start_coordinator 1
set "tries=0"
:founding
find "Raft cluster bootstrapped successfully" "%data%\log\coordinator-1.log" >nul 2>&1
if not errorlevel 1 goto founded
set /a tries+=1
if %tries% GTR 30 (
  echo coordinator-1 did not found the cluster; see %data%\log\coordinator-1.log 1>&2
  exit /b 1
)
call "%~dp0lib.bat" :pause_a_second
goto founding
:founded
call "%~dp0lib.bat" :start_all
call "%~dp0lib.bat" :wait_until_ready
if errorlevel 1 exit /b 1
call "%~dp0lib.bat" :print_addresses
